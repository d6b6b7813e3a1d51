"""Futures, `await` and callbacks on references.

One thread per process, started on first use, sleeps in the engine until something was completed
and then looks at the references that wait.  Work mostly completes in the order in which it was
submitted, so it looks at the oldest first and stops after a run of misses; a look at all follows
within a few milliseconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Union

from whipray import _core

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from whipray._core import ObjectRef

PENDING = 1
"""What `_core.phase` says of an object that is not there yet."""
MISSES = 256
FULL_LOOK_SECONDS = 0.005

Settle = Callable[[], None]
Awaited = Union["ObjectRef[Any]", "_core.Job"]


class Watcher:
    """The thread and what waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Any] = {}
        self._next = 0
        self._epoch = _core.epoch()
        self._last_full = 0.0
        self._over = False
        self._thread = threading.Thread(target=self._run, name="whipray-completion", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """It can take work of the session that is open now."""
        return self._thread.is_alive() and self._epoch == _core.epoch()

    def add(self, ref: Awaited, loop: asyncio.AbstractEventLoop | None, settle: Settle) -> None:
        """Call `settle` once `ref` is there: on `loop` if given, else in the thread."""
        with self._lock:
            key = self._next
            self._next += 1
            self._waiting[key] = (ref, loop, settle)
        if self._over or _core.watch(ref):  # what was added before that is settled by the thread
            with self._lock:
                entry = self._waiting.pop(key, None)
            if entry is not None:
                _settle_now(loop, settle)

    def _run(self) -> None:
        seen, timeout = 0, None
        while True:
            try:
                seen = _core.wait_change(seen, timeout)
                timeout = self._look()
            except Exception:
                self._fail_all()
                return

    def _look(self) -> float | None:
        """Settle what is there; returns how long to sleep at most."""
        now = time.monotonic()
        full = now - self._last_full >= FULL_LOOK_SECONDS
        with self._lock:
            entries = list(self._waiting.items()) if full else self._oldest()
        done, misses = [], 0
        for key, entry in entries:
            if _core.phase(entry[0]) != PENDING:
                done.append((key, entry))
                misses = 0
                continue
            misses += 1
            if misses >= MISSES and not full:
                break
        if full:
            self._last_full = now
        self._settle(done)
        return None if full else FULL_LOOK_SECONDS

    def _oldest(self) -> list[tuple[int, Any]]:
        from itertools import islice

        return list(islice(self._waiting.items(), 16 * MISSES))

    def _settle(self, done: list[tuple[int, Any]]) -> None:
        batches: dict[Any, list[Settle]] = {}
        with self._lock:
            for key, (_, loop, settle) in done:
                if self._waiting.pop(key, None) is not None:
                    batches.setdefault(loop, []).append(settle)
        for loop, settles in batches.items():
            if loop is None:
                _run_all(settles)
            else:
                _hand_over(loop, settles)

    def _fail_all(self) -> None:
        """The session is over: whoever waits finds that out by asking for the value."""
        self._over = True
        with self._lock:
            entries = list(self._waiting.items())
        self._settle(entries)


def _hand_over(loop: asyncio.AbstractEventLoop, settles: list[Settle]) -> None:
    try:
        loop.call_soon_threadsafe(_run_all, settles)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def _run_all(settles: list[Settle]) -> None:
    for settle in settles:
        try:
            settle()
        except Exception:
            sys.excepthook(*sys.exc_info())


def _settle_now(loop: asyncio.AbstractEventLoop | None, settle: Settle) -> None:
    """For what was there already: never in the middle of the caller's own work."""
    if loop is not None:
        _hand_over(loop, [settle])
    else:
        threading.Thread(target=_run_all, args=([settle],), daemon=True).start()


_watcher: Watcher | None = None
_watcher_lock = threading.Lock()


def _the_watcher() -> Watcher:
    global _watcher
    with _watcher_lock:
        if _watcher is None or not _watcher.alive():
            _watcher = Watcher()
        return _watcher


def stop() -> None:
    """Forget the thread of a session that has ended."""
    global _watcher
    with _watcher_lock:
        _watcher = None


# ---- what references offer -----------------------------------------------------------------------


def value_or_error(ref: ObjectRef[Any]) -> tuple[Any, BaseException | None]:
    """The value of a completed object, or the exception that get() raises."""
    try:
        return _core.get(ref), None
    except BaseException as error:
        return None, error


def future_of(ref: ObjectRef[Any]) -> Future[Any]:
    """A concurrent future that gets the value or the error of `ref`."""
    from concurrent.futures import Future, InvalidStateError

    future: Future[Any] = Future()
    future.object_ref = ref  # type: ignore[attr-defined]

    def settle() -> None:
        value, error = value_or_error(ref)
        try:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        except InvalidStateError:
            pass  # cancelled meanwhile

    if _core.phase(ref) != PENDING:
        settle()
    else:
        _the_watcher().add(ref, None, settle)
    return future


def on_completed(ref: ObjectRef[Any], callback: Callable[[Any], Any]) -> None:
    """Call `callback(value or error)` from a thread of this module."""

    def settle() -> None:
        value, error = value_or_error(ref)
        callback(value if error is None else error)

    if _core.phase(ref) != PENDING:
        _settle_now(None, settle)
    else:
        _the_watcher().add(ref, None, settle)


def on_ready(
    ref: ObjectRef[Any], callback: Callable[[BaseException | None], Any]
) -> Callable[[], None]:
    """Call `callback(None)` once the object is there, its value unread; returns what cancels that.

    At once, in the caller, if the object is there already; else from a thread of this module.  The
    argument is an error where that will not be known: the wait is cancelled, the session has ended.
    """
    told = threading.Lock()

    def tell(error: BaseException | None) -> None:
        if told.acquire(blocking=False):
            callback(error)

    def settle() -> None:
        tell(None if _core.phase(ref) != PENDING else value_or_error(ref)[1])

    def cancel() -> None:
        from whipray.exceptions import RaySystemError

        tell(RaySystemError("WaitAsync cancelled"))

    if _core.phase(ref) != PENDING:
        settle()
    else:
        _the_watcher().add(ref, None, settle)
    return cancel


def woken(ref: Awaited) -> asyncio.Future[None]:
    """A future of the running loop that is set when `ref` is complete.

    A job that streams is complete, as it were, when it need not wait for its reader.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    _the_watcher().add(ref, loop, settle)
    return future


def await_ref(ref: ObjectRef[Any]) -> Generator[Any, None, Any]:
    """The iterator behind `await ref`."""
    if _core.phase(ref) != PENDING:
        return _core.get(ref)
    yield from woken(ref)
    return _core.get(ref)


def asyncio_future_of(ref: ObjectRef[Any]) -> asyncio.Future[Any]:
    """A future of the running loop with the value or the error of `ref`."""
    import asyncio

    async def wait() -> Any:
        return await ref

    return asyncio.ensure_future(wait())
