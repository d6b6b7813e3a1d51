"""An actor whose calls run in several threads, as one pool or one per concurrency group."""

from __future__ import annotations

import queue
import signal
import threading
from typing import Any

from whipray import _core
from whipray._private import serving


class Pool:
    """Threads for the calls of one group; they are started when they are first needed."""

    def __init__(self, server: ThreadServer, name: str, limit: int) -> None:
        self._server = server
        self._name = name
        self._limit = limit
        self._jobs: queue.SimpleQueue[_core.Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    def put(self, job: _core.Job) -> None:
        """Run the job in a free thread, or in the next that gets free."""
        with self._lock:
            self._busy += 1
            start = self._busy > self._threads and self._threads < self._limit
            self._threads += start
        self._jobs.put(job)
        if start:
            threading.Thread(target=self._run, name=f"ray::{self._name}", daemon=True).start()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self._server.serve(job)
            finally:
                with self._lock:
                    self._busy -= 1
                del job


class ThreadServer:
    """Takes calls in the main thread and hands them to pools of threads.

    It takes as many as there are before it lets go of the interpreter: a thread then runs several
    short calls in a row, where a hand-over for each would cost more than the calls.
    """

    def __init__(self, actor: serving.Actor) -> None:
        self._actor = actor
        self._bound = actor.bound()
        self._exit: BaseException | None = None
        self._main = threading.get_ident()
        groups = [("default", actor.max_concurrency), *actor.groups.items()]
        self._pools = [Pool(self, name, limit) for name, limit in groups]
        # One token per call that ended; calls beyond the limit stay in the mailbox, except where
        # there are groups, since their calls come in any order.
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._running = 0
        self._limit = float("inf") if actor.groups else actor.max_concurrency
        actor.wake = self._wake

    def _wake(self) -> None:
        """Interrupt the main thread's wait, so that it sees that the actor leaves."""
        signal.pthread_kill(self._main, signal.SIGINT)

    def run(self) -> None:
        """Serve until the actor retires, exits or the session ends."""
        while self._exit is None and not self._actor.leaving:
            self._count_ended(down_to=self._limit - 1)
            job = self._next()
            if job is not None:
                self._running += 1
                self._pools[job.options if job.options < len(self._pools) else 0].put(job)
        if self._exit is not None and not self._actor.leaving:
            raise self._exit

    def _count_ended(self, down_to: float) -> None:
        """Take note of the calls that have ended; wait until at most `down_to` are running."""
        while self._running > down_to or not self._ended.empty():
            self._ended.get()
            self._running -= 1

    def _next(self) -> _core.Job | None:
        """The next call; None to look around, after which `run` may end."""
        try:
            return _core.next_job(0) or _core.next_job(None)
        except EOFError:
            self._actor.leaving = True
            self._count_ended(down_to=0)
        except ConnectionError:
            self._actor.leaving = True
        return None

    def serve(self, job: _core.Job) -> None:
        """Run one call in the calling thread and store its result."""
        serving.current.set(job)
        try:
            self._serve(job)
        except (SystemExit, ConnectionError) as error:
            self._exit = error
            self._wake()
        finally:
            serving.current.set(None)
            self._ended.put(None)

    def _serve(self, job: _core.Job) -> None:
        try:
            args, kwargs = job.load()
            result: Any = self._bound[job.method](*args, **kwargs)
            if job.cancelled:
                raise KeyboardInterrupt  # it saw the flag, or did not care: the caller gave up
            serving.finish(job, result)
        except BaseException as error:
            value = serving.failed(job, error)
            if value is not None:
                _core.finish_job(job, value, True)
