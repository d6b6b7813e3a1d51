"""Who waits is woken by what it waits for, and does not find it at a later look of its own.

Each round pauses for longer than anybody watches before going to sleep, and tells when it was done.
An engine that only looked now and then, twice a second say, would be late in most rounds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Ray

ROUNDS = 15
PAUSE = 0.02
LATE = 0.25
"""Half of the time after which a thread that waits looks for signals; see `docs/caveats.md`."""


def done_at(_: object = None) -> float:
    time.sleep(PAUSE)
    return time.monotonic()


def since(then: float) -> float:
    return time.monotonic() - then


def stream_of_times() -> Iterator[float]:
    for _ in range(ROUNDS):
        yield done_at()


class Listener:
    def since(self, then: float) -> float:
        return since(then)

    async def awaited(self, box: list[Any]) -> float:
        return since(await box[0])


def each(measure: Callable[[], float]) -> list[float]:
    return [measure() for _ in range(ROUNDS)]


def by_get(ray: Ray) -> list[float]:
    return each(lambda: since(ray.get(ray.remote(done_at).remote())))


def by_get_of_several(ray: Ray) -> list[float]:
    task = ray.remote(done_at)
    return each(lambda: since(max(ray.get([task.remote(), task.remote()]))))


def by_wait(ray: Ray) -> list[float]:
    task = ray.remote(done_at)

    def measure() -> float:
        ready, _ = ray.wait([task.remote()])
        woken = time.monotonic()
        return woken - ray.get(ready[0])

    return each(measure)


def by_await(ray: Ray) -> list[float]:
    task = ray.remote(done_at)

    async def listen() -> list[float]:
        return [since(await task.remote()) for _ in range(ROUNDS)]

    return asyncio.run(listen())


def as_argument_of_a_task(ray: Ray) -> list[float]:
    task, listener = ray.remote(done_at), ray.remote(since)
    return each(lambda: ray.get(listener.remote(task.remote())))


def as_argument_of_a_call(ray: Ray) -> list[float]:
    task, listener = ray.remote(done_at), ray.remote(num_cpus=0)(Listener).remote()
    return each(lambda: ray.get(listener.since.remote(task.remote())))


def by_await_in_an_actor(ray: Ray) -> list[float]:
    task, listener = ray.remote(done_at), ray.remote(num_cpus=0)(Listener).remote()
    return each(lambda: ray.get(listener.awaited.remote([task.remote()])))


def in_a_task_that_has_submitted_it(ray: Ray) -> list[float]:
    def outer() -> float:
        return since(ray.get(ray.remote(done_at).remote()))

    return each(lambda: ray.get(ray.remote(outer).remote()))


def as_item_of_a_stream(ray: Ray) -> list[float]:
    items = ray.remote(stream_of_times).remote()
    return [since(ray.get(item)) for item in items]


@pytest.mark.parametrize(
    "way",
    [
        by_get,
        by_get_of_several,
        by_wait,
        by_await,
        as_argument_of_a_task,
        as_argument_of_a_call,
        by_await_in_an_actor,
        in_a_task_that_has_submitted_it,
        as_item_of_a_stream,
    ],
    ids=lambda way: way.__name__,
)
def test_who_waits_is_woken(ray: Ray, way: Callable[[Ray], list[float]]) -> None:
    way(ray)  # processes start, functions are loaded
    assert statistics.median(way(ray)) < LATE


def test_a_queue_wakes_who_waits_for_an_item(ray: Ray, part: Callable[[str], Any]) -> None:
    queue = part("util.queue").Queue()

    def feed() -> None:
        for _ in range(ROUNDS):
            queue.put(done_at())

    fed = ray.remote(feed).remote()
    assert statistics.median([since(queue.get()) for _ in range(ROUNDS)]) < LATE
    ray.get(fed)
    queue.shutdown()
