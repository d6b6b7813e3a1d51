"""The actor at which the members of a group meet: it hands out references, never values."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from whipray import _core
from whipray._private import api

NAMESPACE = "_whipray_collective"
PERIOD_SECONDS = 0.5
"""Between two looks whether the members live."""
CLOSED = -1
"""Instead of the number of a formation: the store is about to end, and the next one is needed."""
_LIVE = 2  # enum wr_proc_phase

Process = tuple[int, int]
"""(slot, generation): names a process of the session for good."""


def own_process() -> Process:
    """This one."""
    slot = _core.info()["slot"]
    return next((slot, row["gen"]) for row in _core.procs() if row["slot"] == slot)


class Meeting:
    """What each rank brought to one operation."""

    def __init__(self, size: int) -> None:
        self.brought: list[Any] = [None] * size
        self.here = 0
        self.taken = 0
        self.complete = asyncio.Event()


class Box:
    """What one rank has sent to another, or those who wait for it: never both."""

    def __init__(self) -> None:
        self.sent: deque[Any] = deque()
        self.waiting: deque[asyncio.Future[Any]] = deque()


class Formation:
    """The members from when they come together until one of them ends or joins anew.  What is said
    in it is lost with it: nobody else's operations are like those."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.members: dict[int, Process] = {}
        self.left: set[int] = set()
        self.lost = ""
        """Why it is over; "": it is not."""
        self.meetings: dict[int, Meeting] = {}
        self.boxes: dict[tuple[int, int], Box] = {}

    def end(self, why: str) -> None:
        """Everybody who waits is told why."""
        self.lost = why
        for meeting in self.meetings.values():
            meeting.complete.set()
        for box in self.boxes.values():
            for waiting in box.waiting:
                if not waiting.done():
                    waiting.set_result(why)


class Store:
    """One group.  `ranks`: {actor id: rank}, where the driver has declared it.

    An operation answers with references, or with the reason why there are none: a text.
    """

    def __init__(self, size: int, ranks: dict[str, int] | None = None) -> None:
        self.size = size
        self.ranks = ranks
        self.formation = Formation(0)
        self.closed = False
        self.watching: asyncio.Task[None] | None = None

    # ---- members ---------------------------------------------------------------------------------

    async def declared(self, actor_id: str) -> tuple[int, int] | None:
        """(number of ranks, rank of that actor), if the driver has declared it a member."""
        rank = (self.ranks or {}).get(actor_id)
        return None if rank is None else (self.size, rank)

    async def join(self, rank: int, process: Process) -> int:
        """The number of the formation, which is a new one if the last one can not go on."""
        if self.closed:
            return CLOSED
        self._look()
        if rank in self.formation.members and not self.formation.lost:
            self.formation.end(f"rank {rank} has joined again")
        if self.formation.lost:
            self.formation = Formation(self.formation.number + 1)
        self.formation.members[rank] = process
        if self.watching is None:
            self.watching = asyncio.ensure_future(self._watch())
        return self.formation.number

    async def leave(self, number: int, rank: int) -> bool:
        """A member has done with the group; True once all have who live."""
        if number != self.formation.number:
            return False
        self.formation.left.add(rank)
        self.closed = self._is_left()
        return self.closed

    def _is_left(self) -> bool:
        """Whether nobody is there any more, and nobody is to come."""
        formation, gone = self.formation, set(self._gone())
        if formation.members.keys() - formation.left - gone:
            return False
        complete = len(formation.members) == self.size or formation.lost
        return bool(complete) or formation.members.keys() == gone

    def _gone(self) -> list[int]:
        """Ranks whose processes have ended; leaving was not the last thing they did."""
        live = {(row["slot"], row["gen"]) for row in _core.procs() if row["phase"] == _LIVE}
        members = self.formation.members.items()
        return [rank for rank, process in members if tuple(process) not in live]

    def _look(self) -> None:
        gone = sorted(set(self._gone()) - self.formation.left)
        if gone and not self.formation.lost:
            self.formation.end(f"rank {gone[0]} has ended")

    async def _watch(self) -> None:
        """Nobody waits for the dead, and a store that is left behind ends."""
        from whipray.runtime_context import get_runtime_context

        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            self._look()
            if self.ranks is None and self._is_left():
                self.closed = True
                api.kill(get_runtime_context().current_actor)

    # ---- operations ------------------------------------------------------------------------------

    def _refusal(self, number: int) -> str:
        """Why there are no operations in that formation; "" when there are."""
        if number == self.formation.number:
            return self.formation.lost
        return "other ranks have joined again"

    async def meet(
        self, formation: int, number: int, rank: int, refs: list[Any]
    ) -> list[list[Any]] | str:
        """Bring something to operation `number`; what all ranks brought, once all have."""
        if why := self._refusal(formation):
            return why
        meetings = self.formation.meetings
        meeting = meetings.setdefault(number, Meeting(self.size))
        meeting.brought[rank] = refs
        meeting.here += 1
        if meeting.here == self.size:
            meeting.complete.set()
        await meeting.complete.wait()
        if meeting.here < self.size:
            return self._refusal(formation)
        meeting.taken += 1
        if meeting.taken == self.size:
            del meetings[number]
        return meeting.brought

    async def send(self, formation: int, source: int, target: int, refs: list[Any]) -> str:
        """Leave something for rank `target`."""
        if why := self._refusal(formation):
            return why
        box = self._box(source, target)
        while box.waiting:
            waiting = box.waiting.popleft()
            if not waiting.done():
                waiting.set_result(refs)
                return ""
        box.sent.append(refs)
        return ""

    async def receive(self, formation: int, source: int, target: int) -> list[Any] | str:
        """What rank `source` has sent, in the order of sending."""
        if why := self._refusal(formation):
            return why
        box = self._box(source, target)
        if box.sent:
            return list(box.sent.popleft())
        waiting = asyncio.get_running_loop().create_future()
        box.waiting.append(waiting)
        found: list[Any] | str = await waiting
        return found

    def _box(self, source: int, target: int) -> Box:
        return self.formation.boxes.setdefault((source, target), Box())


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
