"""An actor with coroutines and concurrency groups: each group has an event loop and a thread.

So a call that blocks its loop holds up those of its own group alone.  The main thread, where the
constructor has run, takes the calls and hands each to the loop of its group.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import deque
from typing import Any

from whipray import _core
from whipray._private import serving
from whipray._private.serve_async import BATCH, Answers, Stepper, Waiting, show_stepping

LOOK_SECONDS = 1.0
"""The main thread looks that often whether the actor is over, should a wake-up have been lost."""


class Group:
    """The calls of one group. All but `give` and `start` run in the thread of its loop."""

    def __init__(self, server: GroupServer, name: str, limit: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.drained = threading.Event()
        self._server = server
        self._name = name
        self._waiting = Waiting(limit, self._done)
        self._stepper: Stepper = ()
        self._queued: deque[_core.Job] = deque()
        self._woken = False  # `_begin` will look at what is queued
        self._retired = False

    def start(self, actor: serving.Actor) -> None:
        """Let the loop run, for as long as the process does."""
        self._stepper = self._server.stepper(actor, self.loop, self._waiting)
        threading.Thread(target=self._run, name=f"ray::{self._name}", daemon=True).start()

    def give(self, job: _core.Job) -> None:
        """A call of this group has come; from another thread."""
        self._queued.append(job)
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._begin)

    def _run(self) -> None:
        """The thread.  SystemExit and KeyboardInterrupt are the outcome of the Task that raises
        them, and stop its loop as well."""
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except SystemExit as error:  # of a call, whose outcome comes first, or of another task
                self.loop.call_soon(self._server.end_with, error)
            except KeyboardInterrupt:
                pass

    def _begin(self) -> None:
        """Start as many of the calls that wait as may run."""
        self._woken = False  # what is queued from now on wakes again
        left = BATCH
        while self._queued and not self._waiting.full() and not self._server.over():
            if left == 0:
                self._woken = True
                self.loop.call_soon(self._begin)
                return
            left -= 1
            self._serve(self._queued.popleft())
        if self._retired and not self._waiting:
            self.drained.set()

    def _serve(self, job: _core.Job) -> None:
        try:
            _core.step_job(job, *self._stepper)
        except Exception as error:
            self._server.end_with(error)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._server.store_task(self._waiting.drop(task), task)
        self._begin()

    def retire(self) -> None:
        """No call comes any more: `drained` is set after the last one."""
        self._retired = True
        self._begin()

    def cancel_flagged(self) -> None:
        """Pass a cancellation on to the calls that carry its flag."""
        self._waiting.cancel_flagged()
        for job in [job for job in self._queued.copy() if job.cancelled]:
            self._queued.remove(job)
            self._server.store_error(job, asyncio.CancelledError())


class GroupServer(Answers):
    """Serves one async actor with groups."""

    def __init__(self, actor: serving.Actor) -> None:
        self._actor = actor
        limits = [("default", actor.max_concurrency), *actor.groups.items()]
        self._groups = [Group(self, name, limit) for name, limit in limits]
        self._main = threading.get_ident()
        self._exit: BaseException | None = None
        self._gone = False
        actor.wake = self._wake

    def construct(self, job: _core.Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the instance, on the loop of the default group; returns what serves the calls."""
        loop = self._groups[0].loop
        asyncio.set_event_loop(loop)
        _core.set_loops()
        loop.run_until_complete(self._construct(job, args, kwargs))
        _core.set_title(f"ray::{self._actor.cls.__name__}")
        self._actor.served = True
        show_stepping()
        return self.run

    async def _construct(
        self, job: _core.Job, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        serving.current.set(job)
        await self._actor.construct_on_loop(args, kwargs)

    # -- the main thread --

    def run(self) -> None:
        """Serve until the actor retires, exits or the session ends."""
        for group in self._groups:
            group.start(self._actor)
        signal.signal(signal.SIGINT, self._pass_on)
        while not self.over() and self._fetch():
            pass
        if not self.over():
            for group in self._groups:
                group.drained.wait()
            self._actor.leaving = True
        if self._exit is not None and not self._actor.leaving:
            raise self._exit

    def over(self) -> bool:
        """Whether no other call may start."""
        return self._exit is not None or self._gone or self._actor.leaving

    def _fetch(self) -> bool:
        """Hand on the next call; False: there will be none."""
        try:
            job = _core.next_job(LOOK_SECONDS)
        except ConnectionError:
            self._gone = True
            return False
        except EOFError:
            for group in self._groups:
                group.loop.call_soon_threadsafe(group.retire)
            return False
        if job is not None:
            self._groups[job.options if job.options < len(self._groups) else 0].give(job)
        return True

    def _pass_on(self, signum: int, frame: Any) -> None:
        for group in self._groups:
            group.loop.call_soon_threadsafe(group.cancel_flagged)

    def _wake(self) -> None:
        """Let the main thread look around, so that it sees that the actor leaves."""
        signal.pthread_kill(self._main, signal.SIGINT)

    # -- asked by the groups --

    def end_with(self, error: BaseException | None) -> None:
        self._exit = error or self._exit
        self._gone = self._gone or error is None
        self._wake()
