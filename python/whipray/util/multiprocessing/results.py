"""What the asynchronous methods of Pool return: results that may not be there yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing import TimeoutError
from typing import TYPE_CHECKING, Any

from whipray import _core
from whipray._private import api
from whipray.exceptions import RayError

if TYPE_CHECKING:
    from whipray.util.multiprocessing.pool import Pool


class PoolTaskError(Exception):
    """Stands in the place of a result for a function that raised `underlying`."""

    def __init__(self, underlying: Exception) -> None:
        super().__init__(underlying)
        self.underlying = underlying


def results_of(chunk: _core.ObjectRef[list[Any]]) -> list[Any]:
    """The results of one chunk, errors among them; one error if the chunk as a whole failed."""
    try:
        results: list[Any] = _core.get(chunk)
        return results
    except RayError as error:
        return [error]


def _all_ready(chunks: list[Any], timeout: float | None) -> bool:
    if not chunks:
        return True
    return len(api.wait(chunks, num_returns=len(chunks), timeout=timeout)[0]) == len(chunks)


class AsyncResult:
    """The results of some chunks of calls.

    `callback` gets all of them, once, if no call failed; `error_callback` gets the first error, as
    soon as it is there.  Both run in a thread of their own.
    """

    def __init__(
        self,
        chunk_object_refs: list[Any],
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
        single_result: bool = False,
    ) -> None:
        self._chunks = chunk_object_refs
        self._single = single_result
        self._thread: threading.Thread | None = None
        if callback is not None or error_callback is not None:
            self._thread = threading.Thread(
                target=self._call_back, args=(callback, error_callback), daemon=True
            )
            self._thread.start()

    def _call_back(
        self,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[Exception], Any] | None,
    ) -> None:
        pending, failed = list(self._chunks), False
        while pending:
            ready, pending = api.wait(pending)
            errors = [found for found in results_of(ready[0]) if isinstance(found, Exception)]
            if errors and not failed:
                failed = True
                if error_callback is not None:
                    error_callback(errors[0])
        if not failed and callback is not None:
            results = self._results()
            callback(results[0] if self._single else results)

    def _results(self) -> list[Any]:
        return [result for chunk in self._chunks for result in results_of(chunk)]

    def wait(self, timeout: float | None = None) -> None:
        """Return once all results are there and callbacks have run, or after `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        else:
            _all_ready(self._chunks, None if timeout is None else max(0.0, timeout))

    def ready(self) -> bool:
        """True once all results are there and callbacks have run."""
        if self._thread is not None:
            return not self._thread.is_alive()
        return _all_ready(self._chunks, 0)

    def successful(self) -> bool:
        """True if no call failed; ValueError before all results are there."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not any(isinstance(result, Exception) for result in self._results())

    def get(self, timeout: float | None = None) -> Any:
        """The result, or the list of results; raises the first error of a call.

        multiprocessing.TimeoutError if they are not there within `timeout` seconds.
        """
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        results = self._results()
        for result in results:
            if isinstance(result, PoolTaskError):
                raise result.underlying
            if isinstance(result, Exception):
                raise result
        return results[0] if self._single else results


class IMapIterator:
    """Results as they come; each process of the pool has one chunk of calls at a time.

    A call that raised has a PoolTaskError in the place of its result.
    """

    def __init__(
        self, pool: Pool, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None
    ) -> None:
        self._pool = pool
        self._func = func
        if chunksize is None:
            sized = hasattr(iterable, "__len__")
            chunksize = pool._calculate_chunksize(iterable) if sized else 1
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        self._chunksize = chunksize
        self._source: Iterator[Any] = iter(iterable)
        self._submitted = 0
        self._running: dict[Any, tuple[int, int]] = {}
        self._results: deque[Any] = deque()
        for process in range(pool._size()):
            self._submit(process)

    def _submit(self, process: int) -> None:
        chunk = list(islice(self._source, self._chunksize))
        if not chunk:
            return
        ref = self._pool._run_batch(process, self._func, [((item,), {}) for item in chunk])
        self._running[ref] = (self._submitted, process)
        self._submitted += 1

    def _finished(self, timeout: float | None) -> tuple[int, list[Any]]:
        """Wait for any chunk; its number and results.  Its process gets the next chunk."""
        ready, _ = api.wait(list(self._running), num_returns=1, timeout=timeout)
        if not ready:
            raise TimeoutError
        number, process = self._running.pop(ready[0])
        self._submit(process)
        return number, results_of(ready[0])

    def _fetch(self, timeout: float | None) -> None:
        """Make more results available; StopIteration when there are no more."""
        raise NotImplementedError

    def next(self, timeout: float | None = None) -> Any:
        """The next result; multiprocessing.TimeoutError if it is not there in `timeout` seconds."""
        if not self._results:
            self._fetch(timeout)
        return self._results.popleft()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()


class OrderedIMapIterator(IMapIterator):
    """Results in the order of the items."""

    def __init__(self, *args: Any) -> None:
        self._next = 0
        self._early: dict[int, list[Any]] = {}
        super().__init__(*args)

    def _fetch(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._next not in self._early:
            if not self._running:
                raise StopIteration
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            number, results = self._finished(left)
            self._early[number] = results
        self._results.extend(self._early.pop(self._next))
        self._next += 1


class UnorderedIMapIterator(IMapIterator):
    """Results in the order in which their chunks finish."""

    def _fetch(self, timeout: float | None) -> None:
        if not self._running:
            raise StopIteration
        self._results.extend(self._finished(timeout)[1])
