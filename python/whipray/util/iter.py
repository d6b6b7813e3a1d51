"""Iterators over shards that live in actors, with transformations that run there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from whipray import _core
from whipray._private import api
from whipray.util.iter_metrics import MetricsContext, SharedMetrics
from whipray.util.local_iter import LocalIterator, _NextValueNotReady

__all__ = [
    "LocalIterator",
    "MetricsContext",
    "ParallelIterator",
    "ParallelIteratorWorker",
    "SharedMetrics",
    "from_actors",
    "from_items",
    "from_iterators",
    "from_range",
]


def from_items(items: list[Any], num_shards: int = 2, repeat: bool = False) -> ParallelIterator:
    """The items, dealt out to the shards one by one; endlessly with `repeat`."""
    shards = [items[i::num_shards] for i in range(num_shards)]
    kind = type(items[0]).__name__ if items else "None"
    name = f"from_items[{kind}, {len(items)}, shards={num_shards}{_repeat(repeat)}]"
    return from_iterators(shards, repeat=repeat, name=name)


def from_range(n: int, num_shards: int = 2, repeat: bool = False) -> ParallelIterator:
    """The numbers from 0 to n - 1, in as many pieces as there are shards."""
    size = n // num_shards
    ends = [*(size * i for i in range(num_shards)), n]
    shards = [range(*pair) for pair in pairwise(ends)]
    name = f"from_range[{n}, shards={num_shards}{_repeat(repeat)}]"
    return from_iterators(shards, repeat=repeat, name=name)


def from_iterators(
    generators: list[Any], repeat: bool = False, name: str | None = None
) -> ParallelIterator:
    """A shard for each iterable, or for each function that makes one."""
    cls: Any = api.remote(ParallelIteratorWorker)
    actors = [cls.remote(generator, repeat) for generator in generators]
    shown = name or f"from_iterators[shards={len(generators)}{_repeat(repeat)}]"
    return from_actors(actors, name=shown)


def from_actors(actors: list[Any], name: str | None = None) -> ParallelIterator:
    """A shard for each actor; their class is derived from ParallelIteratorWorker."""
    shown = name or f"from_actors[shards={len(actors)}]"
    return ParallelIterator([_ActorSet(actors, [])], shown, [])


def _repeat(repeat: bool) -> str:
    return ", repeat=True" if repeat else ""


class _ActorSet:
    """Actors that share their transformations."""

    def __init__(self, actors: list[Any], transforms: list[Callable[[Any], Any]]) -> None:
        self.actors = actors
        self.transforms = transforms

    def init_actors(self) -> None:
        """Let every actor begin."""
        _core.get([actor.par_iter_init.remote(self.transforms) for actor in self.actors])

    def with_transform(self, fn: Callable[[Any], Any]) -> _ActorSet:
        """The same actors with one more transformation."""
        return _ActorSet(self.actors, [*self.transforms, fn])


class ParallelIterator:
    """Shards in actors.  Its methods return further iterators; gather_sync and others run it."""

    def __init__(
        self, actor_sets: list[_ActorSet], name: str, parent_iterators: list[ParallelIterator]
    ) -> None:
        self.actor_sets = actor_sets
        self.name = name
        self.parent_iterators = parent_iterators  # keeps their actors alive

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            "You must use it.gather_sync() or it.gather_async() to iterate over the results of a "
            "ParallelIterator."
        )

    def __repr__(self) -> str:
        return f"ParallelIterator[{self.name}]"

    def _with(self, fn: Callable[[LocalIterator], LocalIterator], name: str) -> ParallelIterator:
        sets = [actor_set.with_transform(fn) for actor_set in self.actor_sets]
        return ParallelIterator(sets, self.name + name, self.parent_iterators)

    def _start(self) -> list[Any]:
        for actor_set in self.actor_sets:
            actor_set.init_actors()
        return [actor for actor_set in self.actor_sets for actor in actor_set.actors]

    # -- transformations, which run in the actors --

    def transform(self, fn: Callable[[Iterable[Any]], Iterable[Any]]) -> ParallelIterator:
        """fn makes an iterable of a whole shard."""
        return self._with(lambda local: local.transform(fn), ".transform()")

    def for_each(
        self, fn: Callable[[Any], Any], max_concurrency: int = 1, resources: Any = None
    ) -> ParallelIterator:
        """fn of each item; with max_concurrency other than 1 in tasks, unordered."""
        if max_concurrency < 0:
            raise AssertionError("max_concurrency must be non-negative.")
        return self._with(
            lambda local: local.for_each(fn, max_concurrency, resources), ".for_each()"
        )

    def filter(self, fn: Callable[[Any], bool]) -> ParallelIterator:
        """The items of which fn is true."""
        return self._with(lambda local: local.filter(fn), ".filter()")

    def batch(self, n: int) -> ParallelIterator:
        """Lists of n items of a shard; its last one may be shorter."""
        return self._with(lambda local: local.batch(n), f".batch({n})")

    def flatten(self) -> ParallelIterator:
        """The items of the items."""
        return self._with(lambda local: local.flatten(), ".flatten()")

    def combine(self, fn: Callable[[Any], list[Any]]) -> ParallelIterator:
        """The items of fn of each item."""
        found = self.for_each(fn).flatten()
        found.name = self.name + ".combine()"
        return found

    def local_shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> ParallelIterator:
        """Each shard in random order."""
        return self._with(
            lambda local: local.shuffle(shuffle_buffer_size, seed),
            f".local_shuffle(shuffle_buffer_size={shuffle_buffer_size}, seed={seed})",
        )

    def repartition(self, num_partitions: int, batch_ms: int = 0) -> ParallelIterator:
        """The same items in another number of shards, dealt out one by one."""
        actors = self._start()

        def maker(part: int) -> Callable[[], Iterator[Any]]:
            def ask(actor: Any) -> Any:
                return actor.par_iter_slice_batch.remote(
                    step=num_partitions, start=part, batch_ms=batch_ms
                )

            return lambda: (item for _, item in _as_ready(actors, ask, 1, None))

        name = f"{self.name}.repartition[num_partitions={num_partitions}]"
        cls: Any = api.remote(ParallelIteratorWorker)
        shards = [cls.remote(maker(part), repeat=False) for part in range(num_partitions)]
        return ParallelIterator([_ActorSet(shards, [])], name, [self])

    def union(self, other: ParallelIterator) -> ParallelIterator:
        """The shards of both."""
        if not isinstance(other, ParallelIterator):
            raise TypeError(f"other must be of type ParallelIterator, got {type(other)}")
        return ParallelIterator(
            self.actor_sets + other.actor_sets,
            f"ParallelUnion[{self}, {other}]",
            self.parent_iterators + other.parent_iterators,
        )

    def select_shards(self, shards_to_keep: list[int]) -> ParallelIterator:
        """Some of the shards."""
        if len(self.actor_sets) > 1:
            raise ValueError("select_shards() is not allowed after union()")
        if not shards_to_keep:
            raise ValueError("at least one shard must be selected")
        old = self.actor_sets[0]
        kept = [actor for i, actor in enumerate(old.actors) if i in shards_to_keep]
        if len(kept) != len(shards_to_keep):
            raise AssertionError("Invalid actor index")
        name = f"{self}.select_shards({len(kept)} total)"
        return ParallelIterator([_ActorSet(kept, old.transforms)], name, self.parent_iterators)

    # -- running it --

    def gather_sync(self) -> LocalIterator:
        """An item of each shard in turn."""
        found = self.batch_across_shards().flatten()
        found.name = f"{self}.gather_sync()"
        return found

    def batch_across_shards(self) -> LocalIterator:
        """Lists with the next item of each shard that has one."""

        def items(timeout: Any = None) -> Iterator[Any]:
            active = self._start()
            while active:
                refs = [actor.par_iter_next.remote() for actor in active]
                while timeout is not None and not _all_ready(refs, timeout):
                    yield _NextValueNotReady()
                found, left = [], []
                for actor, ref in zip(active, refs, strict=True):
                    try:
                        found.append(_core.get(ref))
                        left.append(actor)
                    except StopIteration:
                        pass
                active = left
                if found:
                    yield found

        return LocalIterator(items, SharedMetrics(), name=f"{self}.batch_across_shards()")

    def gather_async(self, batch_ms: int = 0, num_async: int = 1) -> LocalIterator:
        """Items in the order in which they are ready.

        Each shard has `num_async` requests under way, and collects for `batch_ms` milliseconds
        before it answers one.
        """
        _check(batch_ms, num_async, "queue depth")
        shared = SharedMetrics()

        def items(timeout: Any = None) -> Iterator[Any]:
            def ask(actor: Any) -> Any:
                return actor.par_iter_next_batch.remote(batch_ms)

            for actor, item in _as_ready(self._start(), ask, num_async, timeout):
                if actor is not None:
                    shared.get().current_actor = actor
                yield item

        return LocalIterator(items, shared, name=f"{self}.gather_async()")

    def take(self, n: int) -> list[Any]:
        """The first n items."""
        return self.gather_sync().take(n)

    def show(self, n: int = 20) -> None:
        """Print the first n items."""
        self.gather_sync().show(n)

    # -- shards --

    def num_shards(self) -> int:
        """How many there are."""
        return sum(len(actor_set.actors) for actor_set in self.actor_sets)

    def shards(self) -> list[LocalIterator]:
        """Each shard as an iterator of its own."""
        return [self.get_shard(i) for i in range(self.num_shards())]

    def get_shard(self, shard_index: int, batch_ms: int = 0, num_async: int = 1) -> LocalIterator:
        """One shard as an iterator, which may be sent to another process."""
        _check(batch_ms, num_async, "num async")
        places = [(a, s.transforms) for s in self.actor_sets for a in s.actors]
        if not 0 <= shard_index < len(places):
            raise ValueError("Shard index out of range", shard_index, len(places))
        actor, transforms = places[shard_index]

        def items(timeout: Any = None) -> Iterator[Any]:
            _core.get(actor.par_iter_init.remote(transforms))
            asked = deque(actor.par_iter_next_batch.remote(batch_ms) for _ in range(num_async))
            while True:
                if timeout is not None and not api.wait([asked[0]], timeout=timeout)[0]:
                    yield _NextValueNotReady()
                    continue
                try:
                    batch = _core.get(asked.popleft())
                except StopIteration:
                    return
                asked.append(actor.par_iter_next_batch.remote(batch_ms))
                yield from batch

        return LocalIterator(items, SharedMetrics(), name=f"{self.name}.shard[{shard_index}]")


def _check(batch_ms: int, num_async: int, what: str) -> None:
    if num_async < 1:
        raise ValueError(f"{what} must be positive")
    if batch_ms < 0:
        raise ValueError("batch time must be positive")


def _all_ready(refs: list[Any], timeout: float) -> bool:
    return not api.wait(refs, num_returns=len(refs), timeout=timeout)[1]


def _as_ready(
    actors: list[Any], ask: Callable[[Any], Any], depth: int, timeout: float | None
) -> Iterator[tuple[Any, Any]]:
    """(actor, item) as they are ready; ask(actor) asks it for a list of items.

    With a timeout, (None, _NextValueNotReady) after each time of waiting.
    """
    asked = {ask(actor): actor for _ in range(depth) for actor in actors}
    while asked:
        ready, _ = api.wait(list(asked), timeout=timeout)
        for ref in ready:
            actor = asked.pop(ref)
            try:
                batch = _core.get(ref)
            except StopIteration:
                continue
            asked[ask(actor)] = actor
            for item in batch:
                yield actor, item
        if timeout is not None:
            yield None, _NextValueNotReady()


class ParallelIteratorWorker:
    """The actor of a shard: the items of an iterable, or of one that a function makes."""

    def __init__(self, item_generator: Any, repeat: bool) -> None:
        def make() -> Any:
            return item_generator() if callable(item_generator) else item_generator

        def cycle() -> Iterator[Any]:
            while True:
                found = iter(make())
                if found is item_generator:
                    raise ValueError(
                        f"Cannot iterate over {item_generator} multiple times. Please pass in the "
                        "base iterable or a function that makes it instead."
                    )
                yield from found

        self.item_generator: Any = cycle() if repeat else make()
        self.transforms: list[Any] = []
        self.local_it: Iterator[Any] | None = None
        self.next_ith_buffer: dict[int, deque[Any]] | None = None

    def par_iter_init(self, transforms: list[Callable[[Any], Any]]) -> None:
        """Begin with these transformations."""
        local = LocalIterator(lambda timeout: self.item_generator, SharedMetrics())
        for transform in transforms:
            local = transform(local)
        self.local_it = iter(local)

    def par_iter_next(self) -> Any:
        """The next item; StopIteration at the end."""
        assert self.local_it is not None, "must call par_iter_init()"
        return next(self.local_it)

    def par_iter_next_batch(self, batch_ms: int) -> list[Any]:
        """The next item, or those that come within `batch_ms` milliseconds."""
        return self._collect(self.par_iter_next, batch_ms)

    def par_iter_slice(self, step: int, start: int) -> Any:
        """The next of the items number start, start + step, start + 2 * step, and so on."""
        if self.next_ith_buffer is None:
            self.next_ith_buffer = {i: deque() for i in range(step)}
        own = self.next_ith_buffer[start]
        try:
            while not own:
                for i in range(step):
                    self.next_ith_buffer[i].append(self.par_iter_next())
        except StopIteration:
            if not own:  # else it got the last item
                raise
        return own.popleft()

    def par_iter_slice_batch(self, step: int, start: int, batch_ms: int) -> list[Any]:
        """par_iter_slice for one item, or for those that come in time."""
        return self._collect(lambda: self.par_iter_slice(step, start), batch_ms)

    @staticmethod
    def _collect(get: Callable[[], Any], batch_ms: int) -> list[Any]:
        batch = [get()]
        end = time.monotonic() + batch_ms / 1000
        while batch_ms and time.monotonic() < end:
            try:
                batch.append(get())
            except StopIteration:
                break
        return batch
