"""A pool of actors with the methods of multiprocessing.Pool."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Gate, Journal, Ray, wait_until


def square(x: int) -> int:
    return x * x


def multiply(x: int, y: int = 10) -> int:
    return x * y


def pid(_: Any = None) -> int:
    return os.getpid()


def fail_on_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


class Opener:
    """A call that waits until its gate is open."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __call__(self, x: Any = None) -> Any:
        self.gate.wait()
        return x


@pytest.fixture
def mp(part: Callable[[str], Any]) -> Any:
    return part("util.multiprocessing")


@pytest.fixture
def pool(mp: Any) -> Iterator[Any]:
    pool = mp.Pool(2)
    yield pool
    pool.terminate()
    pool.join()


# ---- one call ------------------------------------------------------------------------------------


def test_apply_runs_in_another_process(pool: Any) -> None:
    assert pool.apply(multiply, (2,), {"y": 4}) == 8
    assert pool.apply(multiply, [3, 5]) == 15
    assert pool.apply(pid) != os.getpid()


def test_apply_raises_what_the_function_raised(pool: Any) -> None:
    with pytest.raises(ValueError, match="3 is odd"):
        pool.apply(fail_on_odd, (3,))


def test_calls_go_round_the_processes(pool: Any) -> None:
    assert len({pool.apply(pid) for _ in range(4)}) == 2


def test_apply_async(pool: Any, gate: Any) -> None:
    door = gate()
    result = pool.apply_async(Opener(door), ("there",))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    door.open()
    assert result.get() == "there"
    assert result.ready() and result.successful()
    assert result.get() == "there"


def test_apply_async_with_an_error(pool: Any) -> None:
    result = pool.apply_async(fail_on_odd, (1,))
    result.wait()
    assert result.ready() and not result.successful()
    with pytest.raises(ValueError, match="1 is odd"):
        result.get()


def test_get_times_out(mp: Any, pool: Any, gate: Any) -> None:
    door = gate()
    result = pool.apply_async(Opener(door), (1,))
    result.wait(timeout=0.01)
    with pytest.raises(mp.TimeoutError):
        result.get(timeout=0.01)
    assert mp.TimeoutError is multiprocessing.TimeoutError
    door.open()
    assert result.get(timeout=120) == 1


def test_closures_and_lambdas(pool: Any) -> None:
    base = 5
    assert pool.apply(lambda x: x + base, (1,)) == 6


# ---- many calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [None, 1, 3, 1000])
def test_map_keeps_the_order(pool: Any, chunksize: int | None) -> None:
    assert pool.map(square, range(100), chunksize=chunksize) == [x * x for x in range(100)]


def test_map_of_a_generator_and_of_nothing(pool: Any) -> None:
    assert pool.map(square, (x for x in range(5))) == [0, 1, 4, 9, 16]
    assert pool.map(square, []) == []


def test_map_uses_all_processes(pool: Any) -> None:
    assert len(set(pool.map(pid, range(20), chunksize=1))) == 2


def test_map_raises_the_first_error_in_order(pool: Any) -> None:
    with pytest.raises(ValueError, match="5 is odd"):
        pool.map(fail_on_odd, [0, 2, 4, 5, 7], chunksize=1)


def test_map_async(pool: Any, gate: Any) -> None:
    door = gate()
    result = pool.map_async(Opener(door), range(4), chunksize=1)
    assert not result.ready()
    door.open()
    assert result.get() == [0, 1, 2, 3]
    assert result.successful()


def test_map_async_of_nothing_is_ready(pool: Any) -> None:
    result = pool.map_async(square, [])
    result.wait()
    assert result.ready() and result.get() == []


def test_starmap(pool: Any) -> None:
    assert pool.starmap(multiply, [(1, 2), (3, 4), (5,)]) == [2, 12, 50]
    assert pool.starmap(multiply, [(i, i) for i in range(10)], chunksize=3)[9] == 81
    assert pool.starmap_async(multiply, [(2, 3)]).get() == [6]


# ---- callbacks -----------------------------------------------------------------------------------


def test_callback_of_one_call(pool: Any) -> None:
    seen: list[Any] = []
    result = pool.apply_async(square, (3,), callback=seen.append, error_callback=seen.append)
    result.wait()
    assert seen == [9]


def test_callback_of_many_calls_gets_all_results_once(pool: Any) -> None:
    seen: list[Any] = []
    pool.map_async(square, range(10), chunksize=2, callback=seen.append).wait()
    assert [sorted(results) for results in seen] == [[x * x for x in range(10)]]


def test_error_callback_is_called_once_and_excludes_the_other(pool: Any) -> None:
    good: list[Any] = []
    bad: list[Any] = []
    result = pool.map_async(
        fail_on_odd, range(10), chunksize=1, callback=good.append, error_callback=bad.append
    )
    result.wait()
    assert good == [] and len(bad) == 1
    assert "is odd" in str(bad[0])


def test_starmap_async_calls_back(pool: Any) -> None:
    seen: list[Any] = []
    pool.starmap_async(multiply, [(1, 1), (2, 2)], seen.append).wait()
    assert [sorted(products) for products in seen] == [[1, 4]]  # on Ray as they come


def test_a_callback_may_use_the_pool(pool: Any) -> None:
    seen: list[Any] = []
    result = pool.apply_async(
        square, (2,), callback=lambda x: seen.append(pool.apply_async(square, (x,)).get())
    )
    result.wait()
    assert seen == [16]


# ---- iterators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7])
def test_imap_keeps_the_order(pool: Any, chunksize: int) -> None:
    found = pool.imap(square, range(50), chunksize=chunksize)
    assert iter(found) is found
    assert list(found) == [x * x for x in range(50)]
    with pytest.raises(StopIteration):
        found.next()


@pytest.mark.parametrize("chunksize", [1, 7])
def test_imap_unordered_gives_each_once(pool: Any, chunksize: int) -> None:
    found = list(pool.imap_unordered(square, range(50), chunksize=chunksize))
    assert sorted(found) == [x * x for x in range(50)]


def test_imap_of_an_endless_iterator(pool: Any) -> None:
    def numbers() -> Iterator[int]:
        n = 0
        while True:
            yield n
            n += 1

    found = pool.imap(square, numbers())
    assert [next(found) for _ in range(10)] == [x * x for x in range(10)]


def test_imap_shows_errors_in_their_places(pool: Any) -> None:
    found = list(pool.imap(fail_on_odd, range(4)))
    assert found[0] == 0 and found[2] == 2
    assert isinstance(found[1], Exception) and isinstance(found[3], Exception)
    assert isinstance(found[1].underlying, ValueError)


def test_imap_unordered_gives_what_is_there_first(pool: Any, gate: Any) -> None:
    door = gate()

    def work(x: int) -> int:
        if x == 0:
            door.wait()
        return x

    found = pool.imap_unordered(work, range(2))
    assert next(found) == 1
    door.open()
    assert next(found) == 0


def test_imap_times_out_and_goes_on(mp: Any, pool: Any, gate: Any) -> None:
    door = gate()
    found = pool.imap(Opener(door), range(3))
    with pytest.raises(mp.TimeoutError):
        found.next(timeout=0.01)
    door.open()
    assert [found.next(timeout=120) for _ in range(3)] == [0, 1, 2]


# ---- processes -----------------------------------------------------------------------------------


def test_initializer_runs_once_in_each_process(mp: Any, journal: Journal) -> None:
    with mp.Pool(2, initializer=journal.add, initargs=("up",)) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
        assert journal.lines() == ["up", "up"]


def test_a_failing_initializer_fails_the_pool(mp: Any, ray: Ray) -> None:
    with pytest.raises(ray.exceptions.RayActorError, match="1 is odd"):
        mp.Pool(1, initializer=fail_on_odd, initargs=(1,))


def test_processes_are_replaced_after_their_tasks(mp: Any) -> None:
    with mp.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(pid) for _ in range(6)]
    assert pids[0] == pids[1] and pids[2] == pids[3] and pids[4] == pids[5]
    assert len(set(pids)) == 3


def test_maxtasksperchild_counts_chunks(mp: Any) -> None:
    with mp.Pool(1, maxtasksperchild=1) as pool:
        pids = pool.map(pid, range(6), chunksize=3)
    assert pids[0] == pids[2] and pids[3] == pids[5]
    assert len(set(pids)) == 2


def test_default_size_is_that_of_the_session(mp: Any) -> None:
    with mp.Pool() as pool:
        assert len(set(pool.map(pid, range(20), chunksize=1))) == 2


@pytest.mark.parametrize("processes", [0, -1, 1000])
def test_wrong_sizes(mp: Any, processes: int) -> None:
    with pytest.raises(ValueError):
        mp.Pool(processes)


def test_ray_remote_args_reach_the_actors(mp: Any, ray: Ray) -> None:
    env = {"env_vars": {"POOL_COLOUR": "blue"}}
    with mp.Pool(1, ray_remote_args={"num_cpus": 1, "runtime_env": env}) as pool:
        assert pool.apply(os.getenv, ("POOL_COLOUR",)) == "blue"
        wait_until(lambda: ray.available_resources().get("CPU", 0) == 1)


def test_a_process_that_dies_fails_its_call(mp: Any, ray: Ray) -> None:
    with mp.Pool(1) as pool:
        with pytest.raises(ray.exceptions.RayActorError):
            pool.apply(os._exit, (3,))


# ---- the end -------------------------------------------------------------------------------------


def test_close_lets_calls_finish(mp: Any, gate: Any) -> None:
    door = gate()
    pool = mp.Pool(2)
    result = pool.map_async(Opener(door), range(4), chunksize=1)
    pool.close()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(square, (1,))
    with pytest.raises(ValueError, match="Pool not running"):
        pool.imap(square, [1])
    door.open()
    assert result.get() == [0, 1, 2, 3]
    pool.join()


def test_join_needs_close(pool: Any) -> None:
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_terminate_ends_running_calls(mp: Any, ray: Ray, gate: Any) -> None:
    door = gate()
    pool = mp.Pool(2)
    result = pool.apply_async(Opener(door))
    pool.terminate()
    pool.join()
    with pytest.raises(ray.exceptions.RayActorError):
        result.get(timeout=120)


def test_context_manager_terminates(mp: Any) -> None:
    with mp.Pool(1) as pool:
        assert pool.apply(square, (2,)) == 4
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(square, (2,))
    with pytest.raises(ValueError, match="Pool not running"):
        with pool:
            pass


def test_a_pool_inside_a_task(ray: Ray, mp: Any) -> None:
    name = mp.__name__

    @ray.remote(num_cpus=0)
    def outer() -> list[int]:
        import importlib

        with importlib.import_module(name).Pool(2) as pool:
            return list(pool.map(square, range(4)))

    assert ray.get(outer.remote()) == [0, 1, 4, 9]


def test_joinable_queue_is_the_standard_one(mp: Any) -> None:
    queue = mp.JoinableQueue()
    queue.put(1)
    assert queue.get(timeout=120) == 1
    queue.task_done()
    queue.join()
    queue.close()
    queue.join_thread()


def test_a_pool_starts_a_session(ray_fresh: Ray) -> None:
    import importlib

    module = importlib.import_module(f"{ray_fresh.__name__}.util.multiprocessing")
    with module.Pool(1) as pool:
        assert pool.map(square, range(3)) == [0, 1, 4]
        assert ray_fresh.cluster_resources()["CPU"] == 1
