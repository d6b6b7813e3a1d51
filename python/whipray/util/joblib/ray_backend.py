"""joblib's batches of calls, run in a Pool of actors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from joblib._parallel_backends import (
    FallbackToBackend,
    MultiprocessingBackend,
    SequentialBackend,
)
from joblib.parallel import BatchedCalls

from whipray import _core
from whipray._private import state, worker
from whipray.util.multiprocessing.pool import Pool

SHARED_BYTES = 64 << 10
"""An argument of this size or more is put into the object store once, for all calls that get it."""

Call = tuple[Any, Any, dict[str, Any]]
"""Function, positional and keyword arguments."""


class StoredCalls(BatchedCalls):  # type: ignore[misc]
    """A batch in which references stand for large arguments."""

    items: list[Call]

    def __call__(self) -> Any:
        self.items = [_mapped(_value, call) for call in self.items]
        return super().__call__()

    def __reduce__(self) -> tuple[Any, ...]:
        _, arguments = super().__reduce__()
        return StoredCalls, arguments


def _mapped(change: Callable[[Any], Any], call: Call) -> Call:
    """The call with change(argument) for each of its arguments."""
    func, args, kwargs = call
    return func, [change(arg) for arg in args], {key: change(arg) for key, arg in kwargs.items()}


def _value(arg: Any) -> Any:
    return _core.get(arg) if isinstance(arg, _core.ObjectRef) else arg


class RayBackend(MultiprocessingBackend):  # type: ignore[misc]
    """Runs batches in actors.  `ray_remote_args` are options for them."""

    def __init__(self, *args: Any, ray_remote_args: dict[str, Any] | None = None, **kw: Any):
        super().__init__(*args, **kw)
        self._actor_options = ray_remote_args
        self._stored: dict[int, tuple[Any, Any]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """The number of processes: negative numbers count down from the session's CPUs."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        worker.ensure_attached()
        return max(int(state.cluster_resources().get("CPU", 1)) + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: Any = None,
        require: Any = None,
        ray_remote_args: dict[str, Any] | None = None,
        **unused: Any,
    ) -> int:
        """Start the pool; what is meant for joblib's own processes has no meaning here."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._pool = Pool(n_jobs, ray_remote_args=ray_remote_args or self._actor_options)
        self.parallel = parallel
        return n_jobs

    def submit(self, func: Any, callback: Any = None) -> Any:
        """Run a batch; large arguments travel through the object store."""
        if type(func) is BatchedCalls:
            func = StoredCalls(
                [_mapped(self._store, call) for call in func.items],
                (func._backend, func._n_jobs),
                func._reducer_callback,
                func._pickle_cache,
            )
        return super().submit(func, callback)

    def _store(self, arg: Any) -> Any:
        if not _is_large(arg):
            return arg
        found = self._stored.get(id(arg))
        if found is None:
            found = self._stored[id(arg)] = (arg, _core.put(arg))
        return found[1]

    def stop_call(self) -> None:
        """After each call of Parallel: arguments may change before the next."""
        self._stored.clear()
        super().stop_call()


def _is_large(arg: Any) -> bool:
    """Bytes and NumPy arrays above the limit."""
    if isinstance(arg, bytes):
        return len(arg) >= SHARED_BYTES
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(arg) is numpy.ndarray and arg.nbytes >= SHARED_BYTES
