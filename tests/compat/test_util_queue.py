"""A queue that lives in an actor."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Ray, wait_until


@pytest.fixture
def module(part: Callable[[str], Any]) -> Any:
    return part("util.queue")


@pytest.fixture
def make(module: Any) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(*args: Any, **kwargs: Any) -> Any:
        made.append(module.Queue(*args, **kwargs))
        return made[-1]

    yield make
    for found in made:
        found.shutdown(force=True)


def test_first_in_first_out(make: Any) -> None:
    q = make()
    for item in (1, None, "x"):
        q.put(item)
    assert (q.size(), q.qsize(), len(q)) == (3, 3, 3)
    assert [q.get(), q.get(), q.get()] == [1, None, "x"]
    assert q.empty() and not q.full()


def test_limits(make: Any, module: Any) -> None:
    q = make(maxsize=2)
    q.put(1)
    q.put_nowait(2)
    assert q.full()
    with pytest.raises(module.Full):
        q.put_nowait(3)
    with pytest.raises(module.Full):
        q.put(3, block=False)
    with pytest.raises(module.Full):
        q.put(3, timeout=0.05)
    assert q.get() == 1
    q.put(3)
    assert [q.get(), q.get()] == [2, 3]


def test_empty(make: Any, module: Any) -> None:
    q = make()
    with pytest.raises(module.Empty):
        q.get_nowait()
    with pytest.raises(module.Empty):
        q.get(block=False)
    with pytest.raises(module.Empty):
        q.get(timeout=0.05)


def test_the_errors_are_those_of_the_standard_library(module: Any) -> None:
    assert issubclass(module.Empty, queue.Empty) and issubclass(module.Full, queue.Full)


@pytest.mark.parametrize("timeout", [-1, -0.5])
def test_negative_timeouts(make: Any, timeout: float) -> None:
    q = make(1)
    with pytest.raises(ValueError, match="non-negative"):
        q.put(1, timeout=timeout)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=timeout)


def test_get_waits_for_put(ray: Ray, make: Any) -> None:
    q = make()

    @ray.remote(num_cpus=0)
    def take(q: Any) -> Any:
        return q.get()

    taken = take.remote(q)
    assert ray.wait([taken], timeout=0.05) == ([], [taken])
    q.put("now")
    assert ray.get(taken) == "now"


def test_put_waits_for_room(ray: Ray, make: Any) -> None:
    q = make(1)
    q.put(0)

    @ray.remote(num_cpus=0)
    def give(q: Any) -> None:
        q.put(1)

    given = give.remote(q)
    assert ray.wait([given], timeout=0.05) == ([], [given])
    assert q.get() == 0
    ray.get(given)
    assert q.get() == 1


def test_batches(make: Any, module: Any) -> None:
    q = make(4)
    q.put_nowait_batch([1, 2, 3])
    with pytest.raises(module.Full):
        q.put_nowait_batch([4, 5])
    assert q.size() == 3
    with pytest.raises(module.Empty):
        q.get_nowait_batch(4)
    assert q.get_nowait_batch(0) == []
    assert q.get_nowait_batch(2) == [1, 2]
    assert q.get_nowait_batch(1) == [3]
    with pytest.raises(TypeError):
        q.put_nowait_batch(5)
    with pytest.raises(TypeError):
        q.get_nowait_batch("2")
    with pytest.raises(ValueError):
        q.get_nowait_batch(-1)


def test_async(make: Any, module: Any) -> None:
    q = make(1)

    async def run() -> list[Any]:
        await q.put_async(1)
        with pytest.raises(module.Full):
            await q.put_async(2, block=False)
        with pytest.raises(module.Full):
            await q.put_async(2, timeout=0.05)
        with pytest.raises(ValueError, match="non-negative"):
            await q.get_async(timeout=-1)
        getting = asyncio.gather(q.get_async(), q.get_async())
        await q.put_async(2)
        found = await getting
        with pytest.raises(module.Empty):
            await q.get_async(block=False)
        with pytest.raises(module.Empty):
            await q.get_async(timeout=0.05)
        return sorted(found)

    assert asyncio.run(run()) == [1, 2]


def test_many_producers_and_consumers(ray: Ray, make: Any) -> None:
    q = make(5)

    @ray.remote(num_cpus=0)
    def produce(q: Any, base: int) -> None:
        for i in range(20):
            q.put(base + i)

    @ray.remote(num_cpus=0)
    def consume(q: Any) -> list[int]:
        return [q.get() for _ in range(20)]

    makers = [produce.remote(q, base) for base in (0, 100)]
    takers = [consume.remote(q) for _ in range(2)]
    found = sorted(item for items in ray.get(takers) for item in items)
    ray.get(makers)
    assert found == [*range(20), *range(100, 120)]


def test_options_of_the_actor(ray: Ray, make: Any) -> None:
    q = make(actor_options={"num_cpus": 1, "name": "the-queue"})
    q.put(1)
    assert ray.get_actor("the-queue") == q.actor
    wait_until(lambda: ray.available_resources().get("CPU", 0) == 1)


def test_shutdown_ends_the_actor(ray: Ray, module: Any) -> None:
    for arguments in ({}, {"force": True}, {"grace_period_s": 10}):
        q = module.Queue()
        actor = q.actor
        q.put(1)
        q.shutdown(**arguments)
        assert q.actor is None
        wait_until(lambda actor=actor: not _answers(ray, actor))


@pytest.mark.ray_differs("it says that None has no attribute")
def test_a_queue_that_was_shut_down_says_so(module: Any) -> None:
    q = module.Queue()
    q.shutdown()
    for use in (q.qsize, q.empty, q.get, q.get_nowait, lambda: q.put(1), lambda: len(q)):
        with pytest.raises(RuntimeError, match="has been shut down"):
            use()
    q.shutdown()


def _answers(ray: Ray, actor: Any) -> bool:
    try:
        ray.get(actor.qsize.remote())
    except ray.exceptions.RayActorError:
        return False
    return True
