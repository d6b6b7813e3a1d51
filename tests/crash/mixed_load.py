"""One round of everything: what is submitted, and what must come back while workers are killed.

Each answer depends on its arguments alone, so that it may be computed any number of times.  Every
worker imports this module: it does without what takes long to import.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import whipray
from whipray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    RayError,
    TaskCancelledError,
    WorkerCrashedError,
)
from whipray.util import placement_group, remove_placement_group
from whipray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

HANG_SECONDS = 120  # nothing here takes a second; more than this is a hang


class Waits:
    """Gets: how many have answered, and how long the longest of them took, in seconds."""

    def __init__(self) -> None:
        self.answers, self.longest = 0, 0.0

    def get(self, refs: Any) -> Any:
        began = time.monotonic()
        try:
            return whipray.get(refs, timeout=HANG_SECONDS)
        finally:
            self.answers += 1
            self.longest = max(self.longest, time.monotonic() - began)


# ---- what runs -----------------------------------------------------------------------------------


@whipray.remote(max_restarts=-1, max_task_retries=-1)
class Keeper:
    """Survives, one call at a time."""

    def double(self, x: Any) -> Any:
        return x * 2

    def both(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, y

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)


@whipray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=8)
class Loop:
    """Survives, with many calls in flight on one event loop."""

    async def double(self, x: Any) -> Any:
        return x * 2

    async def through(self, keeper: Any, x: Any) -> Any:
        return await keeper.double.remote(x)

    async def total(self, refs: list[Any]) -> int:
        return sum([int((await ref)[0]) for ref in refs])


@whipray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=3)
class Threads:
    """Survives, with calls on several threads."""

    def nested(self, n: int) -> int:
        return int(whipray.get(tree.remote(n)))


@whipray.remote
class Mortal:
    def answer(self) -> int:
        return 42


@whipray.remote(max_retries=-1)
def make(n: int) -> Any:
    """A reference to an object that its maker put."""
    return [whipray.put(np.full(20_000, n))]


@whipray.remote(max_retries=-1, num_cpus=0.5, resources={"lamp": 1})
def lit(n: int) -> Any:
    return np.full(3_000, n)


@whipray.remote(max_retries=-1, num_returns=3)
def split(array: Any) -> Any:
    return array[:10], array[10:], [whipray.put(b"inside" * 100)]


@whipray.remote(max_retries=-1)
def tree(depth: int) -> int:
    if depth == 0:
        return 1
    return sum(whipray.get([tree.remote(depth - 1) for _ in range(2)]))


@whipray.remote(max_retries=-1)
def endless(refs: Any) -> None:
    while True:
        whipray.get(refs)


@whipray.remote(max_retries=-1)
def arrays(n: int) -> Iterator[Any]:
    for k in range(n):
        yield np.full(2_000 * (k + 1), k)


@whipray.remote(max_retries=-1, num_cpus=1)
def square(x: int) -> int:
    return x * x


@whipray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=1)
class Adder:
    def add(self, x: int, y: int) -> int:
        return x + y


# ---- a round -------------------------------------------------------------------------------------


class Load:
    """The actors that live through all rounds, and the rounds."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.keeper, self.loop, self.threads = Keeper.remote(), Loop.remote(), Threads.remote()

    def come_up(self) -> None:
        calls = [self.keeper.double.remote(1), self.loop.double.remote(1)]
        assert self.waits.get([*calls, self.threads.nested.remote(0)]) == [2, 2, 1]

    def play_round(self, n: int) -> None:
        waits = endless.remote([whipray.put(b"x" * 5_000)])
        self.calls_and_tasks(n)
        self.concurrent_calls(n)
        self.streams(n % 5 + 3)
        self.group(n)
        whipray.cancel(waits)
        try:
            raise AssertionError(f"an endless task has given {self.waits.get(waits)}")
        except (TaskCancelledError, WorkerCrashedError):
            pass

    def calls_and_tasks(self, n: int) -> None:
        get, keeper = self.waits.get, self.keeper
        answer = Mortal.remote().answer.remote()
        doubled = [keeper.double.remote(i) for i in range(5)]
        pair = keeper.both.options(num_returns=2).remote(lit.remote(n), "y")
        head, tail, inside = split.remote(lit.remote(n))
        made, grown = make.remote(n), tree.remote(2)
        assert get(doubled) == [0, 2, 4, 6, 8]
        first, second = get(pair)
        assert first.sum() == 3_000 * n and second == "y"
        assert get(get(made)[0]).sum() == 20_000 * n
        assert get(head).sum() + get(tail).sum() == 3_000 * n
        assert get(get(inside)[0]) == b"inside" * 100
        assert get(grown) == 4
        with contextlib.suppress(ActorDiedError, ActorUnavailableError):  # it was shot
            assert get(answer) == 42

    def concurrent_calls(self, n: int) -> None:
        get, loop = self.waits.get, self.loop
        through = [loop.through.remote(self.keeper, k) for k in range(4)]
        total = loop.total.remote([lit.remote(n), whipray.put(np.full(30_000, 5))])
        nested = [self.threads.nested.remote(1) for _ in range(3)]
        assert get(through) == [0, 2, 4, 6]
        assert get(total) == n + 5
        assert get(nested) == [2, 2, 2]

    def streams(self, n: int) -> None:
        """One read to its end, one held back by its reader, one left in the middle, one of an
        actor."""
        whole = arrays.remote(n)
        held_back = arrays.options(_generator_backpressure_num_objects=1).remote(n)
        left = arrays.options(_generator_backpressure_num_objects=2).remote(100)
        counted = self.keeper.count.remote(n)
        for generator in (held_back, whole):
            for k, ref in enumerate(generator):
                assert self.waits.get(ref).sum() == 2_000 * (k + 1) * k
            assert k == n - 1
        assert [self.waits.get(ref) for ref in counted] == list(range(n))
        assert self.waits.get(next(left)).sum() == 0

    def group(self, n: int) -> None:
        """What is awaited in a group comes; the rest ends with it."""
        group = placement_group([{"CPU": 1}])
        inside = PlacementGroupSchedulingStrategy(group)
        assert self.waits.get(group.ready()) == group
        assert self.waits.get(square.options(scheduling_strategy=inside).remote(n)) == n * n
        adder = Adder.options(scheduling_strategy=inside, num_cpus=0).remote()
        assert self.waits.get(adder.add.remote(n, 1)) == n + 1
        left = [square.options(scheduling_strategy=inside).remote(n), adder.add.remote(1, 1)]
        remove_placement_group(group)
        for ref in left:
            with contextlib.suppress(RayError):
                self.waits.get(ref)
