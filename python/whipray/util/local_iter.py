"""Iterators of one process with transformations, which may be sent elsewhere until they run."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from whipray import _core
from whipray._private import api
from whipray.util.iter_metrics import MetricsContext, SharedMetrics

Transform = Callable[[Iterator[Any]], Iterator[Any]]
PULLS = 100
"""Items that a round takes at most from an iterator of weight "*"."""


class _NextValueNotReady(Exception):
    """Comes out of an iterator with a timeout in the place of an item that is not there yet."""


class LocalIterator:
    """A source and the transformations of its items.

    `base_iterator(timeout)` makes the source: with a timeout in seconds it does not wait longer,
    but yields a _NextValueNotReady.
    """

    ON_FETCH_START_HOOK_NAME = "_on_fetch_start"
    thread_local = threading.local()

    def __init__(
        self,
        base_iterator: Callable[[Any], Iterable[Any]],
        shared_metrics: SharedMetrics,
        local_transforms: list[Transform] | None = None,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        self.base_iterator = base_iterator
        self.built_iterator: Iterator[Any] | None = None
        self.local_transforms = local_transforms or []
        self.shared_metrics = shared_metrics
        self.timeout = timeout
        self.name = name or "unknown"

    @staticmethod
    def get_metrics() -> MetricsContext:
        """The context of the iterator whose function asks."""
        found = getattr(LocalIterator.thread_local, "metrics", None)
        if found is None:
            raise ValueError("Cannot access context outside an iterator.")
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        if self.built_iterator is None:
            built = iter(self.base_iterator(self.timeout))
            for transform in self.local_transforms:
                built = transform(built)
            self.built_iterator = built
        return self.built_iterator

    def __next__(self) -> Any:
        return next(iter(self))

    def __repr__(self) -> str:
        return f"LocalIterator[{self.name}]"

    def _enter(self) -> None:
        self.thread_local.metrics = self.shared_metrics.get()

    def _with(self, transform: Transform, name: str) -> LocalIterator:
        transforms = [*self.local_transforms, transform]
        return LocalIterator(
            self.base_iterator, self.shared_metrics, transforms, name=self.name + name
        )

    # -- transformations --

    def transform(self, fn: Callable[[Iterable[Any]], Iterable[Any]]) -> LocalIterator:
        """fn makes an iterable of the whole iterator."""
        return self._with(lambda items: iter(fn(items)), ".transform()")

    def for_each(
        self, fn: Callable[[Any], Any], max_concurrency: int = 1, resources: Any = None
    ) -> LocalIterator:
        """fn of each item; with max_concurrency other than 1 (0: no limit) in tasks, unordered."""
        if max_concurrency == 1:
            return self._with(lambda items: self._apply(fn, items), ".for_each()")
        return self._with(
            lambda items: _in_tasks(fn, items, max_concurrency, resources or {}), ".for_each()"
        )

    def _apply(self, fn: Any, items: Iterator[Any]) -> Iterator[Any]:
        fetch_hook = getattr(fn, self.ON_FETCH_START_HOOK_NAME, None)
        asked = False
        while True:
            if fetch_hook is not None and not asked:
                self._enter()
                fetch_hook()
                asked = True
            try:
                item = next(items)
            except StopIteration:
                return
            if isinstance(item, _NextValueNotReady):
                yield item
                continue
            asked = False
            while True:  # a function may say that its own value is not ready
                self._enter()
                result = fn(item)
                yield result
                if not isinstance(result, _NextValueNotReady):
                    break

    def filter(self, fn: Callable[[Any], bool]) -> LocalIterator:
        """The items of which fn is true."""

        def filtered(items: Iterator[Any]) -> Iterator[Any]:
            for item in items:
                self._enter()
                if isinstance(item, _NextValueNotReady) or fn(item):
                    yield item

        return self._with(filtered, ".filter()")

    def batch(self, n: int) -> LocalIterator:
        """Lists of n items; the last one may be shorter."""
        return self._with(lambda items: _batches(items, n), f".batch({n})")

    def flatten(self) -> LocalIterator:
        """The items of the items."""
        return self._with(_flat, ".flatten()")

    def shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> LocalIterator:
        """The items in random order, each taken out of a buffer of that size."""
        source = random.Random(seed)
        return self._with(
            lambda items: _shuffled(items, shuffle_buffer_size, source),
            f".shuffle(shuffle_buffer_size={shuffle_buffer_size}, seed={seed})",
        )

    def combine(self, fn: Callable[[Any], list[Any]]) -> LocalIterator:
        """The items of fn of each item."""
        found = self.for_each(fn).flatten()
        found.name = self.name + ".combine()"
        return found

    def zip_with_source_actor(self) -> LocalIterator:
        """(actor, item); for iterators made by gather_async."""

        def pair(item: Any) -> tuple[Any, Any]:
            actor = LocalIterator.get_metrics().current_actor
            if actor is None:
                raise ValueError("Could not identify source actor of item")
            return actor, item

        found = self.for_each(pair)
        found.name = self.name + ".zip_with_source_actor()"
        return found

    # -- using it --

    def take(self, n: int) -> list[Any]:
        """The next n items, or as many as there are."""
        found: list[Any] = []
        for item in self:
            found.append(item)
            if len(found) >= n:
                break
        return found

    def show(self, n: int = 20) -> None:
        """Print the next n items."""
        for item in self.take(n):
            print(item)

    def duplicate(self, n: int) -> list[LocalIterator]:
        """n iterators with all items each; one that runs ahead waits for the others."""
        if n < 2:
            raise ValueError("Number of copies must be >= 2")
        queues: list[deque[Any]] = [deque() for _ in range(n)]

        def make(own: deque[Any]) -> Callable[[Any], Iterator[Any]]:
            def items(timeout: Any) -> Iterator[Any]:
                while True:
                    if len(own) < max(map(len, queues)):
                        yield _NextValueNotReady()
                        continue
                    if not own:
                        self.timeout = timeout
                        try:
                            item = next(self)
                        except StopIteration:
                            return
                        for queue in queues:
                            queue.append(item)
                    yield own.popleft()

            return items

        return [
            LocalIterator(make(queue), self.shared_metrics, name=f"{self.name}.duplicate[{i}]")
            for i, queue in enumerate(queues)
        ]

    def union(
        self,
        *others: LocalIterator,
        deterministic: bool = False,
        round_robin_weights: list[Any] | None = None,
    ) -> LocalIterator:
        """The items of all: as they are ready, in turns, or as often as the weights say.

        A weight "*" takes what is there without waiting.
        """
        for other in others:
            if not isinstance(other, LocalIterator):
                raise ValueError(f"other must be of type LocalIterator, got {type(other)}")
        parents = [self, *others]
        weights = round_robin_weights or [1] * len(parents)
        if len(weights) != len(parents):
            raise ValueError("Length of round robin weights must equal number of iterators total.")
        waits = bool(round_robin_weights) or deterministic
        shared = SharedMetrics(parents=[parent.shared_metrics for parent in parents])
        active = [
            (
                weight,
                LocalIterator(
                    parent.base_iterator,
                    shared,
                    parent.local_transforms,
                    timeout=None if waits and weight != "*" else 0,
                ),
            )
            for weight, parent in zip(weights, parents, strict=True)
        ]
        name = f"LocalUnion[{self}, {', '.join(map(str, others))}]"
        return LocalIterator(lambda timeout: _united(active, timeout), shared, name=name)


def _in_tasks(
    fn: Callable[[Any], Any], items: Iterator[Any], limit: int, options: dict[str, Any]
) -> Iterator[Any]:
    remote: Any = api.remote(fn)
    if options:
        remote = remote.options(**options)
    running: list[Any] = []
    for item in items:
        if isinstance(item, _NextValueNotReady):
            yield item
            continue
        if limit and len(running) >= limit:
            done, running = api.wait(running)
            yield from _core.get(done)
        running.append(remote.remote(item))
    while running:
        done, running = api.wait(running)
        yield from _core.get(done)


def _batches(items: Iterator[Any], n: int) -> Iterator[Any]:
    batch: list[Any] = []
    for item in items:
        if isinstance(item, _NextValueNotReady):
            yield item
            continue
        batch.append(item)
        if len(batch) >= n:
            yield batch
            batch = []
    if batch:
        yield batch


def _flat(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, _NextValueNotReady):
            yield item
        else:
            yield from item


def _shuffled(items: Iterator[Any], size: int, source: random.Random) -> Iterator[Any]:
    buffer: list[Any] = []
    for item in items:
        if isinstance(item, _NextValueNotReady):
            yield item
            continue
        buffer.append(item)
        if len(buffer) >= size:
            yield buffer.pop(source.randrange(len(buffer)))
    while buffer:
        yield buffer.pop(source.randrange(len(buffer)))


def _united(active: list[tuple[Any, LocalIterator]], timeout: Any) -> Iterator[Any]:
    active = list(active)
    while active:
        for entry in list(active):
            weight, items = entry
            for _ in range(PULLS if weight == "*" else _whole(weight)):
                try:
                    item = next(items)
                except StopIteration:
                    active.remove(entry)
                    break
                if isinstance(item, _NextValueNotReady):
                    if timeout is not None:
                        yield item
                    break
                yield item


def _whole(weight: float) -> int:
    """A whole number that is `weight` on average."""
    base = int(weight)
    return base + (random.random() < weight - base)
