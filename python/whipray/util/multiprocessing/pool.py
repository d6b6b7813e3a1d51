"""A pool of actors with the methods of `multiprocessing.Pool`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from whipray import _core
from whipray._private import api, machine, state, worker
from whipray.util.multiprocessing.results import (
    AsyncResult,
    OrderedIMapIterator,
    PoolTaskError,
    UnorderedIMapIterator,
)

__all__ = ["AsyncResult", "Pool", "PoolTaskError"]

Self = TypeVar("Self", bound="Pool")
Call = tuple[Any, dict[str, Any] | None]
"""Positional and keyword arguments."""


class PoolActor:
    """One process of a pool."""

    def __init__(
        self, initializer: Callable[..., Any] | None = None, initargs: Iterable[Any] | None = None
    ) -> None:
        if initializer is not None:
            initializer(*(initargs or ()))

    def ping(self) -> None:
        """Answers once the initializer has run."""

    def run_batch(self, func: Callable[..., Any], batch: list[Call]) -> list[Any]:
        """The results of all calls; an error stands in the place of its result."""
        return [self._run(func, args or (), kwargs or {}) for args, kwargs in batch]

    @staticmethod
    def _run(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        try:
            return func(*args, **kwargs)
        except Exception as error:
            return PoolTaskError(error)


_remote_actor: Any = api.remote(num_cpus=0)(PoolActor)


class Pool:
    """Processes that run functions; names and arguments are those of `multiprocessing.Pool`.

    `processes`: at most, and by default, the CPUs of the session.  `maxtasksperchild`: a process is
    replaced after that many chunks.  `context` has no meaning here.  `ray_address`: the session to
    join if none is open, as in init().  `ray_remote_args`: options for the actors, which claim no
    CPU unless asked to.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        self._closed = False
        self._initial = (initializer, initargs)
        self._limit = maxtasksperchild or 0
        if context is not None:
            logging.getLogger("whipray").warning("Pool: `context` is not used.")
        processes = _open_session(processes, ray_address)
        self._actor_class: Any = _remote_actor.options(**(ray_remote_args or {}))
        self._stopping: list[Any] = []
        self._last = -1
        self._actor_pool = [self._start() for _ in range(processes)]
        _core.get([actor.ping.remote() for actor, _ in self._actor_pool])

    # -- processes --

    def _size(self) -> int:
        return len(self._actor_pool)

    def _start(self) -> tuple[Any, int]:
        """(actor, number of chunks it has been given)."""
        return self._actor_class.remote(*self._initial), 0

    def _stop(self, actor: Any) -> None:
        """Let the actor end after the calls it has been given."""
        self._stopping.append(actor.__ray_terminate__.remote())

    def _run_batch(self, process: int, func: Callable[..., Any], batch: list[Call]) -> Any:
        actor, count = self._actor_pool[process]
        result = actor.run_batch.remote(func, batch)
        count += 1
        if count == self._limit:
            self._stop(actor)
            actor, count = self._start()
        self._actor_pool[process] = actor, count
        return result

    # -- one call --

    def apply(
        self, func: Callable[..., Any], args: Any = None, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """func(*args, **kwargs), in one of the processes."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Any = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        """`apply` that does not wait; `callback` gets the result, `error_callback` the error."""
        self._check_running()
        self._last = (self._last + 1) % self._size()
        ref = self._run_batch(self._last, func, [(args, kwargs)])
        return AsyncResult([ref], callback, error_callback, single_result=True)

    # -- many calls --

    def map(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """[func(item) for item in iterable], `chunksize` calls at a time in each process."""
        return self._submit(func, iterable, chunksize, False).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        """`map` that does not wait; `callback` gets the list, `error_callback` the first error."""
        return self._submit(func, iterable, chunksize, False, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """[func(*args) for args in iterable]."""
        return self._submit(func, iterable, chunksize, True).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """`starmap` that does not wait."""
        return self._submit(func, iterable, chunksize, True, callback, error_callback)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> OrderedIMapIterator:
        """`map` as an iterator, for iterables that are long or endless."""
        self._check_running()
        return OrderedIMapIterator(self, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> UnorderedIMapIterator:
        """`imap` with the results in the order in which they are there."""
        self._check_running()
        return UnorderedIMapIterator(self, func, iterable, chunksize)

    def _submit(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        unpack: bool,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        self._check_running()
        items = iterable if hasattr(iterable, "__len__") else list(iterable)
        if chunksize is None:
            chunksize = self._calculate_chunksize(items)
        source = iter(items)
        chunks: list[Any] = []
        while chunk := list(islice(source, chunksize)):
            batch: list[Call] = [(item if unpack else (item,), None) for item in chunk]
            chunks.append(self._run_batch(len(chunks) % self._size(), func, batch))
        return AsyncResult(chunks, callback, error_callback)

    def _calculate_chunksize(self, iterable: Any) -> int:
        """About four chunks for each process."""
        return max(1, -(-len(iterable) // (4 * self._size())))

    # -- the end --

    def close(self) -> None:
        """Take no more calls; the processes end when those that were given are done."""
        if self._closed:
            return
        self._closed = True
        for actor, _ in self._actor_pool:
            self._stop(actor)

    def terminate(self) -> None:
        """End the processes at once; calls that are not done fail."""
        self.close()
        for actor, _ in self._actor_pool:
            api.kill(actor)

    def join(self) -> None:
        """After close or terminate: wait for the processes to end."""
        if not self._closed:
            raise ValueError("Pool is still running")
        if self._stopping:
            api.wait(self._stopping, num_returns=len(self._stopping))
            self._stopping = []

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def __enter__(self: Self) -> Self:
        self._check_running()
        return self

    def __exit__(self, *error: Any) -> None:
        self.terminate()


def _open_session(processes: int | None, address: str | None) -> int:
    """Start or join a session if none is open; the number of processes of the pool."""
    if processes is not None and processes <= 0:
        raise ValueError("Processes in the pool must be >0.")
    if not _core.attached():
        joins = machine.find_address(address) is not None
        worker.init(address, num_cpus=None if joins else processes)
    cpus = int(state.cluster_resources().get("CPU", 0))
    if processes is None:
        processes = cpus
    if processes <= 0:
        raise ValueError("Processes in the pool must be >0.")
    if processes > cpus:
        raise ValueError(
            f"Tried to start a pool with {processes} processes on an existing session, but it has "
            f"only {cpus} CPUs."
        )
    return processes
