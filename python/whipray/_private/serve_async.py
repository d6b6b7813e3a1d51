"""An actor with coroutines: all its calls run on one event loop in the main thread.

A feeder thread sleeps in the engine for the first call; the loop then takes calls without sleeping
until there are none, and only then asks the feeder again.  A coroutine takes its first step at
once, as a Task of its own: one that never waits costs no round through the loop.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any, TypeAlias
from weakref import WeakSet

from whipray import _core
from whipray._private import completion, serving

Stepper: TypeAlias = tuple[Any, ...]

BATCH = 128
"""Calls taken before other callbacks of the loop get their turn."""
AT_ONCE = 1e-9
"""Seconds: long enough to spin, as long as spinning has paid lately, and too short to sleep."""


class Waiting:
    """The calls on one loop that wait for something after their first step."""

    def __init__(self, limit: int, done: Callable[[asyncio.Task[Any]], None]) -> None:
        self._limit = limit
        self._done = done  # hears of each whose Task has ended
        self._jobs: dict[asyncio.Task[Any], _core.Job] = {}
        self._told: set[asyncio.Task[Any]] = set()  # those of them that have been cancelled

    def __len__(self) -> int:
        return len(self._jobs)

    def full(self) -> bool:
        """No call may start."""
        return len(self._jobs) >= self._limit

    def add(self, job: _core.Job, task: asyncio.Task[Any]) -> bool:
        """Keep a call, its Task among all of asyncio, till it is done; true: more may start."""
        self._jobs[task] = job
        asyncio._register_task(task)
        task.add_done_callback(self._done)
        return not self.full()

    def drop(self, task: asyncio.Task[Any]) -> _core.Job:
        """It is done: its job."""
        self._told.discard(task)
        return self._jobs.pop(task)

    def cancel_flagged(self) -> None:
        """Pass a cancellation on to the calls that carry its flag, to each once: one that cleans up
        goes on with it when another call is cancelled."""
        for task, job in list(self._jobs.items()):
            if job.cancelled and task not in self._told:
                self._told.add(task)
                serving.cancel_children(job)
                task.cancel()


class Answers:
    """Starts the calls of an async actor and stores what they have come to."""

    def stepper(self, actor: serving.Actor, loop: Any, waiting: Waiting) -> Stepper:
        """What `_core.step_jobs()` and `step_job()` have to know to serve calls on this loop."""
        attributes = vars(loop)
        attributes["call_soon"] = loop.call_soon  # they replace it while they make a Task
        options = {"loop": loop, "name": actor.cls.__name__}
        tasks = (asyncio.Task, attributes, options, awaiting)
        return (actor.bound(), *tasks, waiting.add, self.store_error)

    def store_task(self, job: _core.Job, task: asyncio.Task[Any]) -> None:
        """The outcome of a task that is done.

        A call that was cancelled is so, also when its coroutine has made something of it.
        """
        try:
            if task.cancelled():
                raise asyncio.CancelledError
            value = task.result()
            if job.cancelled:
                raise asyncio.CancelledError
            _core.answer_job(job, value)
        except BaseException as error:
            cancelled = job.cancelled and isinstance(error, Exception)
            self.store_error(job, asyncio.CancelledError() if cancelled else error)

    def store_error(self, job: _core.Job, error: BaseException) -> None:
        """The call has failed, or the actor leaves with it."""
        try:
            value = serving.failed(job, error)
            if value is not None:
                _core.finish_job(job, value, True)
        except ConnectionError:
            self.end_with(None)
        except BaseException as leaving:
            self.end_with(leaving)

    def end_with(self, error: BaseException | None) -> None:
        """End the run.

        Args:
            error: what a call has raised to leave, or why calls can not be taken, want of memory
                perhaps: what has not run is run again or fails with it. None: the session is over.
        """
        raise NotImplementedError


class AsyncServer(Answers):
    """Serves one async actor that has no groups."""

    def __init__(self, actor: serving.Actor) -> None:
        self._actor = actor
        self._loop = asyncio.new_event_loop()
        self._ready: Any = getattr(self._loop, "_ready", None)  # callbacks that are due
        self._calls: Stepper = ()
        self._waiting = Waiting(actor.max_concurrency, self._done)
        self._ask = threading.Semaphore(0)
        self._asked = False
        self._over: asyncio.Future[None] | None = None
        self._retired = False
        self._exit: BaseException | None = None
        actor.wake = self._leave_soon

    # -- construction and the run --

    def construct(
        self, job: _core.Job, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[], None]:
        """Run the constructor and then the calls; returns what ends the process.

        The loop never pauses in between: other threads may ask whether it runs.
        """
        asyncio.set_event_loop(self._loop)
        _core.set_loops()
        life = self._loop.create_task(self._live(job, args, kwargs))
        while not life.done():
            try:
                self._loop.run_until_complete(life)
            except KeyboardInterrupt:  # of a Task, whose outcome it is; it stops the loop as well
                if life.done() or not self._actor.served:
                    raise
        return self._end

    async def _live(self, job: _core.Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Construct, then serve until the actor retires, exits or the session ends."""
        token = serving.current.set(job)
        await self._actor.construct_on_loop(args, kwargs)
        serving.current.reset(token)
        _core.set_title(f"ray::{self._actor.cls.__name__}")
        self._actor.served = True
        self._calls = self.stepper(self._actor, self._loop, self._waiting)
        show_stepping()
        self._over = self._loop.create_future()
        _core.actor_up()
        self._loop.add_signal_handler(signal.SIGINT, self._waiting.cancel_flagged)
        threading.Thread(target=self._feed, name="ray::feeder", daemon=True).start()
        self._loop.call_soon(self._pump)
        try:
            await self._over
        finally:
            self._loop.remove_signal_handler(signal.SIGINT)

    def _end(self) -> None:
        if self._exit is not None and not self._actor.leaving:
            raise self._exit

    def _leave_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._finish_run)

    def end_with(self, error: BaseException | None) -> None:
        self._exit = error or self._exit
        self._finish_run()

    def _finish_run(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    # -- taking calls --

    def _feed(self) -> None:
        """The feeder thread."""
        while True:
            self._ask.acquire()
            try:
                job = _core.next_job(None)
            except EOFError:
                self._loop.call_soon_threadsafe(self._retire)
                return
            except ConnectionError:
                self._loop.call_soon_threadsafe(self._finish_run)
                return
            except Exception as error:
                self._loop.call_soon_threadsafe(self.end_with, error)
                return
            self._loop.call_soon_threadsafe(self._fed, job)

    def _fed(self, job: _core.Job | None) -> None:
        self._asked = False
        if job is not None:
            self._serve(job)
        self._pump()

    def _pump(self) -> None:
        """Take calls until there are none, the limit is reached or the batch is full."""
        try:
            if not (self._asked or self._retired or self._leaves()) and self._took_batch():
                self._loop.call_soon(self._pump)
        except EOFError:
            self._retire()
        except ConnectionError:
            self._finish_run()
        except Exception as error:
            self.end_with(error)

    def _took_batch(self) -> bool:
        """False: there are no more calls, or no room for one; the end of one then pumps again."""
        left = BATCH
        while left > 0 and not self._waiting.full() and not self._leaves():
            taken = _core.step_jobs(left, *self._calls)
            left -= taken
            if taken:
                continue
            job = self._watch()
            if job is None:
                self._asked = True
                self._ask.release()
                return False
            self._serve(job)
            left -= 1
        return left <= 0

    def _leaves(self) -> bool:
        """A call has ended the actor, or the session is over: no other starts."""
        return self._over is None or self._over.done()

    def _watch(self) -> _core.Job | None:
        """The next call if it comes while the engine spins, and the loop has nothing else to do.

        A caller that waits for each answer is met here, without the feeder.
        """
        return None if self._ready or self._ready is None else _core.next_job(AT_ONCE)

    def _retire(self) -> None:
        self._retired = True
        if not self._waiting:
            self._actor.leaving = True
            self._finish_run()

    def _serve(self, job: _core.Job) -> None:
        """Start a call that has come by itself."""
        if self._leaves():
            return
        try:
            _core.step_job(job, *self._calls)
        except Exception as error:
            self.end_with(error)

    # -- one call --

    def _done(self, task: asyncio.Task[Any]) -> None:
        was_full = self._waiting.full()
        self.store_task(self._waiting.drop(task), task)
        if self._retired:
            if not self._waiting:
                self._retire()
        elif was_full:
            self._loop.call_soon(self._pump)


def show_stepping() -> None:
    """Have `asyncio.all_tasks()` find the Task that takes its first step: see coroutines.c."""
    for name in ("_all_tasks", "_scheduled_tasks"):  # until Python 3.11; since 3.12
        tasks: Any = getattr(asyncio.tasks, name, None)
        if isinstance(tasks, WeakSet):
            references: set[Any] = vars(tasks)["data"]
            references.add(_core.stepping)


async def awaiting(awaitable: Any) -> Any:
    """The result of anything that can be awaited; of a generator, what is left of its items."""
    if not isinstance(awaitable, AsyncGeneratorType):
        return await awaitable
    job = serving.current.get()
    assert job is not None
    if job.dynamic:
        return [value async for value in awaitable]
    job.begin()
    async for value in awaitable:
        if not _emitted(job, value):
            await completion.woken(job)
    return iter(())


def _emitted(job: _core.Job, value: Any) -> bool:
    """Hand on an item; false: wait for its reader.  A Task would let a KeyboardInterrupt out of the
    loop, and with it the actor."""
    try:
        return job.emit(value)
    except KeyboardInterrupt:
        raise asyncio.CancelledError from None
