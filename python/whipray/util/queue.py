"""A first-in first-out queue that lives in an actor, for any number of producers and consumers."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

from whipray import _core
from whipray._private import api


class Empty(queue.Empty):
    """Nothing is in the queue."""


class Full(queue.Full):
    """The queue has no room."""


class Queue:
    """Names and arguments are those of `queue.Queue`; may be passed to tasks and actors.

    `actor_options` are options for the actor that holds the items.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self.actor: Any = api.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    @property
    def _holder(self) -> Any:
        """The actor; RuntimeError once there is none."""
        if self.actor is None:
            raise RuntimeError("this Queue has been shut down, and its items are gone")
        return self.actor

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Number of items."""
        return int(_core.get(self._holder.qsize.remote()))

    def qsize(self) -> int:
        """Number of items."""
        return self.size()

    def empty(self) -> bool:
        """True if there is no item."""
        return bool(_core.get(self._holder.empty.remote()))

    def full(self) -> bool:
        """True if no item fits."""
        return bool(_core.get(self._holder.full.remote()))

    # -- one item --

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; Full if there is no room at once, or within `timeout` seconds."""
        if not block:
            self._checked(_core.get(self._holder.put_nowait.remote(item)), Full)
            return
        _check(timeout)
        self._checked(_core.get(self._holder.put.remote(item, timeout)), Full)

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """`put` for coroutines."""
        if not block:
            self._checked(await self._holder.put_nowait.remote(item), Full)
            return
        _check(timeout)
        self._checked(await self._holder.put.remote(item, timeout), Full)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; Empty if there is none at once, or within `timeout` seconds."""
        if not block:
            return self._item(_core.get(self._holder.get_nowait.remote()))
        _check(timeout)
        return self._item(_core.get(self._holder.get.remote(timeout)))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """`get` for coroutines."""
        if not block:
            return self._item(await self._holder.get_nowait.remote())
        _check(timeout)
        return self._item(await self._holder.get.remote(timeout))

    def put_nowait(self, item: Any) -> None:
        """put(item, block=False)."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """get(block=False)."""
        return self.get(block=False)

    # -- several items --

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items or none; Full if they do not fit."""
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        self._checked(_core.get(self._holder.put_nowait_batch.remote(list(items))), Full)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take that many items or none; Empty if there are fewer."""
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        return list(self._item(_core.get(self._holder.get_nowait_batch.remote(num_items))))

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the actor: at once, or after its running calls or the grace period."""
        if self.actor is None:
            return
        if not force:
            done = self.actor.__ray_terminate__.remote()
            if api.wait([done], timeout=grace_period_s)[0]:
                self.actor = None
                return
        api.kill(self.actor, no_restart=True)
        self.actor = None

    @staticmethod
    def _checked(complaint: str | None, error: type[Exception]) -> None:
        if complaint is not None:
            raise error(complaint)

    @staticmethod
    def _item(answer: tuple[bool, Any]) -> Any:
        there, value = answer
        if not there:
            raise Empty(value)
        return value


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


class _QueueActor:
    """Holds the items; answers instead of raising, so that callers raise their own classes."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    def qsize(self) -> int:
        return self.queue.qsize()

    def empty(self) -> bool:
        return self.queue.empty()

    def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: float | None = None) -> str | None:
        try:
            await asyncio.wait_for(self.queue.put(item), timeout)
        except TimeoutError:
            return f"no room within {timeout} s"
        return None

    async def get(self, timeout: float | None = None) -> tuple[bool, Any]:
        try:
            return True, await asyncio.wait_for(self.queue.get(), timeout)
        except TimeoutError:
            return False, f"no item within {timeout} s"

    def put_nowait(self, item: Any) -> str | None:
        return self.put_nowait_batch([item])

    def put_nowait_batch(self, items: list[Any]) -> str | None:
        if self.maxsize > 0 and len(items) + self.qsize() > self.maxsize:
            return (
                f"Cannot add {len(items)} items to queue of size {self.qsize()} and maxsize "
                f"{self.maxsize}."
            )
        for item in items:
            self.queue.put_nowait(item)
        return None

    def get_nowait(self) -> tuple[bool, Any]:
        if self.queue.empty():
            return False, "the queue is empty"
        return True, self.queue.get_nowait()

    def get_nowait_batch(self, num_items: int) -> tuple[bool, Any]:
        if num_items > self.qsize():
            return False, f"Cannot get {num_items} items from queue of size {self.qsize()}."
        return True, [self.queue.get_nowait() for _ in range(num_items)]
