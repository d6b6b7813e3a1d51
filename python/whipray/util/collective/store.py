"""The actor at which the members of a group meet: it hands out references, never values."""

from __future__ import annotations

import asyncio
from typing import Any

from whipray._private import api

NAMESPACE = "_whipray_collective"


class Meeting:
    """What each rank brought to one operation."""

    def __init__(self, size: int) -> None:
        self.brought: list[Any] = [None] * size
        self.here = 0
        self.taken = 0
        self.complete = asyncio.Event()


class Store:
    """One group.  `ranks`: {actor id: rank}, where the driver has declared it."""

    def __init__(self, size: int, ranks: dict[str, int] | None = None) -> None:
        self.size = size
        self.ranks = ranks
        self.meetings: dict[int, Meeting] = {}
        self.boxes: dict[tuple[int, int], asyncio.Queue[Any]] = {}
        self.left: set[int] = set()

    async def declared(self, actor_id: str) -> tuple[int, int] | None:
        """(number of ranks, rank of that actor), if the driver has declared it a member."""
        rank = (self.ranks or {}).get(actor_id)
        return None if rank is None else (self.size, rank)

    async def meet(self, number: int, rank: int, refs: list[Any]) -> list[list[Any]]:
        """Bring something to operation `number`; what all ranks brought, once all have."""
        meeting = self.meetings.setdefault(number, Meeting(self.size))
        meeting.brought[rank] = refs
        meeting.here += 1
        if meeting.here == self.size:
            meeting.complete.set()
        await meeting.complete.wait()
        meeting.taken += 1
        if meeting.taken == self.size:
            del self.meetings[number]
        return meeting.brought

    async def send(self, source: int, target: int, refs: list[Any]) -> None:
        """Leave something for rank `target`."""
        self._box(source, target).put_nowait(refs)

    async def receive(self, source: int, target: int) -> list[Any]:
        """What rank `source` has sent, in the order of sending."""
        return list(await self._box(source, target).get())

    def _box(self, source: int, target: int) -> asyncio.Queue[Any]:
        return self.boxes.setdefault((source, target), asyncio.Queue())

    async def leave(self, rank: int) -> bool:
        """A member has done with the group; True once all have."""
        self.left.add(rank)
        return len(self.left) == self.size


_actor: Any = api.remote(num_cpus=0, max_concurrency=10_000)(Store)


def open_store(group: str, size: int) -> Any:
    """The store of a group, started by the first member that asks.

    It is detached: members come and go, and the last one to leave ends it.
    """
    wanted = {"name": group, "namespace": NAMESPACE, "lifetime": "detached"}
    return _actor.options(get_if_exists=True, **wanted).remote(size)


def declare(group: str, size: int, ranks: dict[str, int]) -> Any:
    """The store of a group whose members the driver names; it ends with the driver."""
    return _actor.options(name=group, namespace=NAMESPACE).remote(size, ranks)


def find(group: str) -> Any:
    """The store of a group, or None."""
    try:
        return api.get_actor(group, namespace=NAMESPACE)
    except ValueError:
        return None
