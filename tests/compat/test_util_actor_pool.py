"""A fixed set of actors that work through values."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from .helpers import Gate, Ray


class Worker:
    def double(self, x: int) -> int:
        return 2 * x

    def wait(self, gate: Gate, x: int) -> int:
        gate.wait()
        return x

    def fail(self, x: int) -> int:
        if x == 1:
            raise ValueError("one")
        return x

    def die(self) -> None:
        os._exit(1)

    def pair(self, x: int) -> tuple[int, int]:
        return x, x + 1


def double(actor: Any, x: int) -> Any:
    return actor.double.remote(x)


@pytest.fixture
def pool_of(ray: Ray, part: Callable[[str], Any]) -> Callable[[int], Any]:
    cls = ray.remote(num_cpus=0)(Worker)
    return lambda count: part("util").ActorPool([cls.remote() for _ in range(count)])


def test_map_keeps_the_order(pool_of: Any) -> None:
    results = pool_of(3).map(double, range(20))
    assert list(results) == [2 * x for x in range(20)]


def test_map_unordered(pool_of: Any) -> None:
    assert sorted(pool_of(3).map_unordered(double, range(20))) == [2 * x for x in range(20)]


def test_map_of_a_generator_and_of_nothing(pool_of: Any) -> None:
    pool = pool_of(2)
    assert list(pool.map(double, (x for x in range(3)))) == [0, 2, 4]
    assert list(pool.map(double, [])) == []


def test_map_submits_at_once(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(1)
    pool.map(lambda a, x: a.wait.remote(door, x), [1, 2])
    assert not pool.has_free() and pool.has_next()
    door.open()


def test_submit_and_get_next(pool_of: Any) -> None:
    pool = pool_of(2)
    for x in range(5):
        pool.submit(double, x)
    assert [pool.get_next() for _ in range(5)] == [0, 2, 4, 6, 8]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_get_next_unordered_gives_what_is_ready(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(2)
    pool.submit(lambda a, x: a.wait.remote(door, x), 1)
    pool.submit(double, 5)
    assert pool.get_next_unordered() == 10
    door.open()
    assert pool.get_next_unordered() == 1


def test_get_next_after_unordered_is_refused(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(2)
    pool.submit(lambda a, x: a.wait.remote(door, x), 1)
    pool.submit(double, 5)
    assert pool.get_next_unordered() == 10
    with pytest.raises(ValueError, match="not allowed"):
        pool.get_next()
    door.open()


def test_timeouts_leave_the_work(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(1)
    pool.submit(lambda a, x: a.wait.remote(door, x), 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    with pytest.raises(TimeoutError):
        pool.get_next_unordered(timeout=0.01)
    door.open()
    assert pool.get_next(timeout=120) == 1


def test_a_timed_out_result_can_be_ignored(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(1)
    pool.submit(lambda a, x: a.wait.remote(door, x), 1)
    pool.submit(double, 2)
    with pytest.raises(TimeoutError, match="ignored"):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    door.open()
    assert pool.get_next() == 4
    assert not pool.has_next()


def test_a_new_map_forgets_the_last(pool_of: Any, gate: Any) -> None:
    door = gate()
    pool = pool_of(2)
    pool.map(lambda a, x: a.wait.remote(door, x), [1, 2, 3])
    door.open()
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_errors_come_where_they_belong(pool_of: Any) -> None:
    pool = pool_of(2)
    results = pool.map(lambda a, x: a.fail.remote(x), range(3))
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
    assert pool.get_next() == 2


def test_a_dead_actor_is_not_used_again(ray: Ray, pool_of: Any) -> None:
    pool = pool_of(2)
    pool.submit(lambda a, _: a.die.remote(), None)
    with pytest.raises(ray.exceptions.ActorDiedError):
        pool.get_next()
    assert len(pool._idle_actors) == 1
    assert list(pool.map(double, range(4))) == [0, 2, 4, 6]


def test_push_and_pop(ray: Ray, pool_of: Any) -> None:
    pool = pool_of(1)
    other = ray.remote(num_cpus=0)(Worker).remote()
    pool.push(other)
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(other)
    assert pool.has_free()
    first, second = pool.pop_idle(), pool.pop_idle()
    assert {first, second} >= {other} and first != second
    assert pool.pop_idle() is None and not pool.has_free()
    pool.push(first)
    pool.submit(double, 1)
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(first)
    assert pool.get_next() == 2
    assert pool.has_free()


def test_push_starts_what_waits(ray: Ray, pool_of: Any) -> None:
    pool = pool_of(0)
    pool.submit(double, 4)
    assert not pool.has_next()
    pool.push(ray.remote(num_cpus=0)(Worker).remote())
    assert pool.get_next() == 8


def test_functions_that_return_several_references(pool_of: Any) -> None:
    pool = pool_of(1)
    for x in (1, 5):
        pool.submit(lambda a, x: a.pair.options(num_returns=2).remote(x), x)
    assert [pool.get_next(), pool.get_next()] == [[1, 2], [5, 6]]


def test_a_subclass_sees_the_fields(ray: Ray, part: Callable[[str], Any]) -> None:
    class Counting(part("util").ActorPool):  # type: ignore[misc]
        def __init__(self, actors: list[Any]) -> None:
            super().__init__(actors)
            self.returned = 0

        def _return_actor(self, actor: Any, *args: Any, **kwargs: Any) -> None:
            self.returned += 1
            super()._return_actor(actor, *args, **kwargs)

        def pending(self) -> int:
            return len(self._future_to_actor) + len(self._pending_submits)

    pool = Counting([ray.remote(num_cpus=0)(Worker).remote()])
    for x in range(3):
        pool.submit(double, x)
    assert pool.pending() == 3
    assert pool._next_task_index == 1 and list(pool._index_to_future) == [0]
    assert [pool.get_next() for _ in range(3)] == [0, 2, 4]
    assert pool.returned == 3 and pool._next_return_index == 3


@pytest.mark.ray_differs("it gives fewer results than values")
def test_values_that_no_actor_is_there_for_are_not_lost_silently(ray: Ray, pool_of: Any) -> None:
    pool = pool_of(0)
    for results in (pool.map, pool.map_unordered):
        with pytest.raises(ValueError, match="no actors: 2 of the values"):
            list(results(lambda actor, x: actor.double.remote(x), [1, 2]))
    assert list(pool.map(lambda actor, x: actor.double.remote(x), [])) == []
    pool.push(ray.remote(Worker).remote())
    assert list(pool.map(lambda actor, x: actor.double.remote(x), [1, 2])) == [2, 4]
