"""An actor whose calls run in several threads, as one pool or one per concurrency group.

Handing calls from thread to thread would cost more than short calls do. So a thread runs one call
after the other and fetches them itself, without a look at the others until one of them has fetched
calls too; of those that sleep only one at a time is called, and it calls the next one when it has
come. A thread that comes waits for the interpreter: it gets it as soon as the call that runs waits
for something, or takes long.
"""

from __future__ import annotations

import signal
import threading
from collections import deque

from whipray import _core
from whipray._private import serving

IN_A_ROW = 64
"""Calls that one thread runs before it lets go of the interpreter even if they never do."""


class Pool:
    """The threads for the calls of one group. All fields under the server's lock."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.jobs: deque[_core.Job] = deque()
        self.beds: list[threading.Lock] = []  # of threads that sleep
        self.threads = 0
        self.called = False  # a thread that was called has not come yet


class ThreadServer:
    """Serves one threaded actor.

    The main thread waits in the engine for calls, unless a thread that was called will look for
    them or as many run as may: then it sleeps until the threads find no more calls. Calls beyond
    the limit stay in the mailbox, except where there are groups, since their calls come in any
    order.

    Before a thread runs a call, one of these holds: the main thread waits in the engine; a thread
    has been called and has not come; as many calls run as may.
    """

    def __init__(self, actor: serving.Actor) -> None:
        self._actor = actor
        self._bound = actor.bound()
        self._exit: BaseException | None = None
        self._main = threading.get_ident()
        groups = [("default", actor.max_concurrency), *actor.groups.items()]
        self._pools = [Pool(name, limit) for name, limit in groups]
        self._limit = float("inf") if actor.groups else actor.max_concurrency
        self._in_a_row = 1 if actor.groups else IN_A_ROW
        self._lock = threading.Lock()
        self._running = 0  # calls fetched and not ended; of those run in a row one at a time
        self._away = False  # the main thread sleeps
        self._room = threading.Lock()
        self._room.acquire()
        actor.wake = self._wake

    # -- the main thread --

    def run(self) -> None:
        """Serve until the actor retires, exits or the session ends."""
        while not self._over():
            job = self._wait()
            with self._lock:
                called = job is not None and self._admit(job)
                idle = self._full() or (called and _core.jobs_in_sight())
                self._away = away = idle and not self._over()
            if away:
                self._room.acquire()
        if self._exit is not None and not self._actor.leaving:
            raise self._exit

    def _over(self) -> bool:
        return self._exit is not None or self._actor.leaving

    def _wait(self) -> _core.Job | None:
        """The next call; None to look around, after which `run` may end."""
        try:
            return _core.next_job(None)
        except (EOFError, ConnectionError):
            self._actor.leaving = True
            return None

    def _wake(self) -> None:
        """Let the main thread look around, so that it sees that the actor leaves."""
        with self._lock:
            self._call_main()
        signal.pthread_kill(self._main, signal.SIGINT)

    # -- under the lock --

    def _call_main(self) -> None:
        if self._away:
            self._away = False
            self._room.release()

    def _full(self) -> bool:
        return self._running >= self._limit

    def _admit(self, job: _core.Job) -> bool:
        """Give the call to the threads of its group; true: one that was called has not come."""
        self._running += 1
        pool = self._pool_of(job)
        pool.jobs.append(job)
        return self._call_thread(pool)

    def _pool_of(self, job: _core.Job) -> Pool:
        return self._pools[job.options if job.options < len(self._pools) else 0]

    def _call_thread(self, pool: Pool) -> bool:
        """True: one that was called has not come."""
        if pool.called:
            return True
        if pool.beds:
            pool.called = True
            pool.beds.pop().release()
        elif pool.threads < pool.limit:
            name = f"ray::{pool.name}"
            thread = threading.Thread(target=self._work, args=(pool,), name=name, daemon=True)
            pool.called = True
            pool.threads += 1
            try:
                thread.start()
            except RuntimeError:  # the system has no more: those that are there come when they can
                pool.called = False
                pool.threads -= 1
                if not pool.threads:
                    raise
        return pool.called

    # -- the threads --

    def _work(self, pool: Pool) -> None:
        """Serve the group; what it can not serve, for want of memory perhaps, ends the process."""
        try:
            self._serve_group(pool)
        except BaseException as leaving:
            self._exit = leaving
            self._wake()

    def _serve_group(self, pool: Pool) -> None:
        bed = threading.Lock()
        bed.acquire()
        job = None
        while True:
            with self._lock:
                if job is None:
                    pool.called = False  # by this thread, which has come
                else:
                    self._running -= 1
                job = self._take(pool)
                if job is None:
                    pool.beds.append(bed)
            if job is None:
                bed.acquire()
            else:
                self._serve(job)

    def _take(self, pool: Pool) -> _core.Job | None:
        """The next call of the group; somebody is there for what comes after it."""
        if self._over():
            return None
        job = pool.jobs.popleft() if pool.jobs else self._fetch(pool)
        called = bool(pool.jobs) and self._call_thread(pool)
        if not self._away or called or (job is not None and self._full()):
            return job
        if job is None or not _core.jobs_in_sight() or not self._call_thread(pool):
            self._call_main()
        return job

    def _fetch(self, pool: Pool) -> _core.Job | None:
        """The next call of the group that the engine has; those of others go to their threads."""
        while not self._full():
            try:
                job = _core.next_job(0)
            except (EOFError, ConnectionError):
                return None  # the main thread will see why
            if job is None:
                return None
            if self._pool_of(job) is pool:
                self._running += 1
                return job
            self._admit(job)
        return None

    def _serve(self, job: _core.Job) -> None:
        """Run the call, and those that are there after it."""
        _core.run_jobs(job, self._bound, self._in_a_row, self._fail)

    def _fail(self, job: _core.Job, error: BaseException) -> None:
        try:
            value = serving.failed(job, error)
            if value is not None:
                _core.finish_job(job, value, True)
        except BaseException as leaving:
            self._exit = leaving
            self._wake()
