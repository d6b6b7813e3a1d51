"""Ways to consume the results of many tasks: as they finish, and with a bound on work in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import whipray

Item = TypeVar("Item")


def as_finished(refs: Iterable[Any]) -> Iterator[Any]:
    """Values of `refs`, each as soon as its task is done, in order of completion."""
    pending = list(refs)
    while pending:
        ready, pending = whipray.wait(pending, num_returns=1)
        yield from whipray.get(ready)


class BoundedFlow:
    """Submits work item by item and never holds more than `limit` unfinished ones.

    The source is read only as fast as results are taken, so it may be endless or large.
    `most_in_flight` is the highest number of items that were in flight at once.
    """

    def __init__(self, submit: Callable[[Any], Any], limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self._submit = submit
        self._limit = limit
        self.most_in_flight = 0

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
        """Pairs of (item, value) in order of completion."""
        pending: dict[Any, Item] = {}
        for item in items:
            if len(pending) == self._limit:
                yield self._take_one(pending)
            pending[self._submit(item)] = item
            self.most_in_flight = max(self.most_in_flight, len(pending))
        while pending:
            yield self._take_one(pending)

    @staticmethod
    def _take_one(pending: dict[Any, Item]) -> tuple[Item, Any]:
        (ready,), _ = whipray.wait(list(pending), num_returns=1)
        return pending.pop(ready), whipray.get(ready)
