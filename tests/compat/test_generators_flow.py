"""Streams under pressure: limits, readers that leave, cancellation, death of the producer."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import AppError, Gate, Journal, Ray, wait_until

Gates = Callable[[str], Gate]


def values(ray: Ray, generator: Any) -> list[Any]:
    return [ray.get(ref) for ref in generator]


def journal_to(path: str, n: int) -> Any:
    """Yields 0..n-1 and writes down each before it is yielded."""
    journal = Journal(path)
    for k in range(n):
        journal.add(k)
        yield k


def die_once(path: str, n: int, at: int) -> Any:
    """Yields 0..n-1; its first attempt ends the process in place of item `at`."""
    first = Journal(path).add("attempt") == 1
    for k in range(n):
        if first and k == at:
            os._exit(1)
        yield k


# ---- back-pressure -------------------------------------------------------------------------------


def test_backpressure_keeps_the_producer_back(ray: Ray, tmp_path: Any) -> None:
    journal = Journal(tmp_path / "made")
    remote = ray.remote(_generator_backpressure_num_objects=3)(journal_to)
    generator = remote.remote(journal.path, 12)
    for k in range(12):
        assert ray.get(next(generator)) == k
        assert len(journal.lines()) <= k + 5  # those unread, and the one being made
    with pytest.raises(StopIteration):
        next(generator)


def test_backpressure_of_one_makes_items_on_demand(ray: Ray, tmp_path: Any) -> None:
    journal = Journal(tmp_path / "made")
    remote = ray.remote(journal_to).options(_generator_backpressure_num_objects=1)
    assert values(ray, remote.remote(journal.path, 20)) == list(range(20))
    assert len(journal.lines()) == 20


def test_backpressure_ends_when_the_reader_leaves(ray: Ray, tmp_path: Any) -> None:
    """The only CPU is free again for the next task."""
    journal = Journal(tmp_path / "made")
    remote = ray.remote(num_cpus=2, _generator_backpressure_num_objects=1)(journal_to)
    generator = remote.remote(journal.path, 50)
    assert ray.get(next(generator)) == 0
    del generator
    assert ray.get(ray.remote(num_cpus=2)(lambda: "next").remote()) == "next"


def made(journal: Journal, n: int) -> None:
    wait_until(lambda: len(journal.lines()) == n)


class Yields:
    def items(self, path: str, n: int) -> Any:
        yield from journal_to(path, n)


class YieldsAsync:
    async def items(self, path: str, n: int) -> Any:
        for k in journal_to(path, n):
            yield k
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("cls", "concurrency"), [(Yields, 1), (Yields, 3), (YieldsAsync, 3)], ids=str
)
def test_backpressure_of_all_streams_of_an_actor(
    ray: Ray, tmp_path: Any, cls: Any, concurrency: int
) -> None:
    """What the first has yielded leaves less room for the second, also when it has ended."""
    first, second = Journal(tmp_path / "first"), Journal(tmp_path / "second")
    limited = ray.remote(_actor_generator_backpressure_num_objects=3)(cls)
    actor = limited.options(max_concurrency=concurrency).remote()
    whole = actor.items.remote(first.path, 2)
    made(first, 2)
    other = actor.items.remote(second.path, 10)
    made(second, 1)
    assert values(ray, whole) == [0, 1]
    for k in range(10):
        made(second, min(10, k + 3))
        assert ray.get(next(other)) == k
    assert len(second.lines()) == 10


def test_backpressure_of_an_actor_ends_for_a_stream_that_nobody_reads(
    ray: Ray, tmp_path: Any
) -> None:
    left, read = Journal(tmp_path / "left"), Journal(tmp_path / "read")
    actor = ray.remote(_actor_generator_backpressure_num_objects=1)(Yields).remote()
    generator = actor.items.remote(left.path, 10)
    made(left, 1)
    behind = actor.items.remote(read.path, 10)
    del generator
    assert values(ray, behind) == list(range(10))


@pytest.mark.parametrize("room", [1, 4])
def test_the_tighter_of_two_backpressures_counts(ray: Ray, tmp_path: Any, room: int) -> None:
    journal = Journal(tmp_path / "made")
    actor = ray.remote(_actor_generator_backpressure_num_objects=2)(Yields).remote()
    method = actor.items.options(_generator_backpressure_num_objects=room)
    generator = method.remote(journal.path, 10)
    for k in range(10):
        made(journal, min(10, k + min(room, 2)))
        assert ray.get(next(generator)) == k


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-2, ValueError), (2.5, TypeError), ("3", TypeError)]
)
def test_backpressure_of_an_actor_is_checked(ray: Ray, value: Any, error: type) -> None:
    with pytest.raises(error, match="_actor_generator_backpressure_num_objects"):
        ray.remote(_actor_generator_backpressure_num_objects=value)(Yields)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError), ("3", TypeError)])
def test_backpressure_of_a_task_is_checked(ray: Ray, value: Any, error: type) -> None:
    with pytest.raises(error, match="_generator_backpressure_num_objects"):
        ray.remote(_generator_backpressure_num_objects=value)(journal_to)
    with pytest.raises(error, match="_generator_backpressure_num_objects"):
        ray.remote(journal_to).options(_generator_backpressure_num_objects=value)


@pytest.mark.parametrize("who", ["task", "actor"])
def test_backpressure_ends_with_the_process_that_reads(ray: Ray, tmp_path: Any, who: str) -> None:
    """A producer that is held back holds a CPU, which is free again after that."""
    journal = Journal(tmp_path / "made")
    remote = ray.remote(num_cpus=1, max_retries=0, _generator_backpressure_num_objects=1)(
        journal_to
    )

    def read() -> None:
        generator = remote.remote(journal.path, 50)
        ray.get(next(generator))
        os.kill(os.getpid(), 9)

    class Reader:
        def read(self) -> None:
            read()

    if who == "task":
        ref = ray.remote(max_retries=0)(read).remote()
    else:
        reader = ray.remote(Reader).remote()
        ref = reader.read.remote()
    with pytest.raises((ray.exceptions.WorkerCrashedError, ray.exceptions.RayActorError)):
        ray.get(ref)
    assert ray.get(ray.remote(num_cpus=2)(lambda: "next").remote()) == "next"


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_streams_of_one_actor_are_made_side_by_side(ray: Ray, kind: str) -> None:
    """Each waits for the other between its items."""

    class Threads:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        def items(self, name: str) -> Any:
            for k in range(5):
                self.barrier.wait(60)
                yield name, k

    class Loop:
        def __init__(self) -> None:
            self.came, self.event = 0, asyncio.Event()

        async def items(self, name: str) -> Any:
            for k in range(5):
                self.came += 1
                while self.came < 3 * (k + 1):
                    await asyncio.sleep(0.001)
                yield name, k

    if kind == "threads":
        actor = ray.remote(max_concurrency=3)(Threads).remote()
    else:
        actor = ray.remote(Loop).remote()
    streams = [actor.items.options(num_returns="streaming").remote(name) for name in "abc"]
    for name, stream in zip("abc", streams, strict=True):
        assert values(ray, stream) == [(name, k) for k in range(5)]


# ---- cancellation --------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [-1, 1])
def test_cancel_of_a_stream_that_runs(ray: Ray, tmp_path: Any, room: int) -> None:
    """Running in its body, or held back by its reader."""

    @ray.remote(max_retries=0, _generator_backpressure_num_objects=room)
    def produce(hang: bool) -> Any:
        yield 0
        yield 1
        if hang:
            Gate(str(tmp_path / "never")).wait()
        yield 2

    generator = produce.remote(room < 0)
    assert ray.get(next(generator)) == 0
    ray.cancel(generator)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        for ref in generator:
            ray.get(ref)


def test_cancel_of_a_stream_in_the_queue(ray: Ray, gate: Gates) -> None:
    started, go = gate("started"), gate("go")

    @ray.remote(num_cpus=2)
    def hold_every_cpu() -> None:
        started.open()
        go.wait()

    busy = hold_every_cpu.remote()
    started.wait()
    generator = ray.remote(journal_to).remote(go.path + ".unused", 3)
    ray.cancel(generator)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(next(generator))
    go.open()
    ray.get(busy)
    assert not os.path.exists(go.path + ".unused")


@pytest.mark.parametrize("hang", [False, True])
def test_cancel_of_a_stream_of_an_async_actor_leaves_the_actor_alone(
    ray: Ray, tmp_path: Any, hang: bool
) -> None:
    """It is noticed where the stream yields, or while it awaits something."""

    @ray.remote
    class Source:
        async def pid(self) -> int:
            return os.getpid()

        async def produce(self) -> Any:
            while True:
                yield 0
                await asyncio.sleep(100 if hang else 0)

    source = Source.remote()
    pid = ray.get(source.pid.remote())
    generator = source.produce.remote()
    assert ray.get(next(generator)) == 0
    ray.cancel(generator)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        for ref in generator:
            ray.get(ref)
    assert ray.get(source.pid.remote()) == pid


# ---- death of the producer -----------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_retry_goes_on_where_the_worker_died(ray: Ray, tmp_path: Any, at: int) -> None:
    path = str(tmp_path / "attempts")
    generator = ray.remote(max_retries=1)(die_once).remote(path, 8, at)
    assert values(ray, generator) == list(range(8))
    assert len(Journal(path).lines()) == 2


def test_death_without_retries_comes_behind_the_items(ray: Ray, tmp_path: Any) -> None:
    generator = ray.remote(max_retries=0)(die_once).remote(str(tmp_path / "attempts"), 8, 3)
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        values(ray, generator)
    with pytest.raises(StopIteration):
        next(generator)


def test_death_of_an_actor_in_mid_stream(ray: Ray, gate: Gates) -> None:
    read = gate("read")

    @ray.remote
    class Producer:
        def items(self) -> Any:
            yield 1
            read.wait()
            os._exit(1)

    producer = Producer.remote()
    generator = producer.items.remote()
    assert ray.get(next(generator)) == 1
    read.open()
    with pytest.raises(ray.exceptions.RayActorError):
        values(ray, generator)


# ---- actors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "threaded", "async"])
def test_methods_that_yield(ray: Ray, kind: str) -> None:
    class Sync:
        def items(self, n: int, fails: bool = False) -> Any:
            for k in range(n):  # noqa: UP028
                yield k
            if fails:
                raise AppError(n, "behind the items")

    class Async:
        async def items(self, n: int, fails: bool = False) -> Any:
            for k in range(n):
                await asyncio.sleep(0)
                yield k
            if fails:
                raise AppError(n, "behind the items")

    cls: Any = ray.remote(Async if kind == "async" else Sync)
    actor = cls.options(max_concurrency=1 if kind == "sync" else 3).remote()
    running = [actor.items.remote(10) for _ in range(3)]
    assert [values(ray, generator) for generator in running] == [list(range(10))] * 3
    limited = actor.items.options(_generator_backpressure_num_objects=2).remote(10)
    assert values(ray, limited) == list(range(10))
    with pytest.raises(AppError):
        values(ray, actor.items.remote(2, True))


# ---- memory --------------------------------------------------------------------------------------


def test_memory_of_what_nobody_reads_comes_back(ray: Ray, engine: Ray) -> None:
    import numpy as np

    @ray.remote
    def produce(n: int) -> Any:
        for k in range(n):
            yield np.full(10_000_000, k, np.uint8)

    generator = produce.remote(4)
    array = ray.get(next(generator))
    assert array.nbytes == 10_000_000 and not array.any()
    ray.get(generator.completed())
    del generator, array
    if engine.__name__ == "whipray":
        from whipray import _core

        wait_until(lambda: _core.audit()["value_bytes"] < 10_000_000)
        wait_until(lambda: _core.audit()["violations"] == 0)


# ---- several objects per yield -------------------------------------------------------------------


def test_each_yield_may_give_several_objects(ray: Ray) -> None:
    @ray.remote(_num_objects_per_yield=2)
    def pairs() -> Any:
        yield 1, 2
        yield [3, 4]

    @ray.remote
    class Actor:
        @ray.method(_num_objects_per_yield=2)
        def pairs(self, start: int) -> Any:
            yield start, start + 1
            yield start + 2, start + 3

    assert [ray.get(ref) for ref in pairs.remote()] == [1, 2, 3, 4]
    actor = Actor.remote()
    assert [ray.get(ref) for ref in actor.pairs.remote(5)] == [5, 6, 7, 8]


def test_a_yield_of_another_number_of_objects_is_an_error(ray: Ray) -> None:
    @ray.remote(_num_objects_per_yield=2)
    def wrong() -> Any:
        yield 1, 2
        yield 3

    found = []
    with pytest.raises(ValueError, match="must yield a tuple or list of length 2"):
        for ref in wrong.remote():
            found.append(ray.get(ref))
    assert found == [1, 2]


def test_objects_per_yield_are_said_where_the_generator_is(ray: Ray) -> None:
    with pytest.raises(ValueError, match="_num_objects_per_yield"):
        ray.remote(_num_objects_per_yield=0)(journal_to)
    pairs = ray.remote(_num_objects_per_yield=2)(journal_to)
    with pytest.raises(ValueError, match="cannot be overridden per task call"):
        pairs.options(_num_objects_per_yield=3)
    pairs.options(_num_objects_per_yield=2)


def test_peeking_and_reading_on(ray: Ray) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for k in range(3):  # noqa: UP028 - Ray sends to what is delegated to
            yield k

    generator = count.remote()
    [first] = generator._get_next_ref_n(1)
    assert ray.get(first) == 0
    generator._consume_next_ref_n(1)
    assert [ray.get(ref) for ref in generator] == [1, 2]
    with pytest.raises(ValueError):
        generator._consume_next_ref_n(0)


def test_reading_on_past_what_is_not_there(ray: Ray, gate: Gates) -> None:
    opened = gate("open")

    @ray.remote
    def late() -> Iterator[int]:
        opened.wait()
        yield 1

    generator = late.remote()
    with pytest.raises(ValueError):
        generator._consume_next_ref_n(1)
    opened.open()
    assert [ray.get(ref) for ref in generator] == [1]


# ---- methods that yield and are retried ----------------------------------------------------------


def test_a_method_that_yields_is_retried_for_its_exceptions(ray: Ray) -> None:
    @ray.remote(max_task_retries=3)
    class Flaky:
        def __init__(self) -> None:
            self.attempts = 0

        @ray.method(retry_exceptions=True)
        def items(self) -> Iterator[int]:
            self.attempts += 1
            yield 0
            if self.attempts < 3:
                raise ValueError(self.attempts)
            yield self.attempts

        @ray.method(retry_exceptions=[KeyError])
        def filtered(self) -> Iterator[int]:
            self.attempts += 1
            yield self.attempts
            raise ValueError("not retried")

        def count(self) -> int:
            return self.attempts

    flaky = Flaky.remote()
    assert [ray.get(ref) for ref in flaky.items.remote()] == [0, 3]
    refs = list(flaky.filtered.remote())
    assert ray.get(refs[0]) == 4
    with pytest.raises(ValueError, match="not retried"):
        ray.get(refs[1])
    assert ray.get(flaky.count.remote()) == 4


def test_a_method_that_yields_is_retried_after_a_crash(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_restarts=2, max_task_retries=2)
    class Crashing:
        def items(self) -> Iterator[int]:
            attempt = journal.add("attempt")
            for item in range(4):
                if item == attempt < 3:
                    os._exit(1)
                yield item

    crashing = Crashing.remote()
    assert values(ray, crashing.items.remote()) == [0, 1, 2, 3]
    assert journal.lines() == ["attempt"] * 3
