"""What a caller has of a task that yields: references to the items, in order.

`ObjectRefGenerator` gives each reference as soon as its item is there, `DynamicObjectRefGenerator`
is the value of a task that has ended.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, NoReturn, TypeVar

from whipray import _core
from whipray._private import hints

T = TypeVar("T")

NOT_PICKLED = (
    "You cannot return or pass a generator to other task. Serializing a ObjectRefGenerator is not "
    "allowed. Pass the references that it yields, list(generator), or make the generator there."
)


class ObjectRefGenerator(_core.Stream[T], Generic[T]):
    """References to what a task or method yields: iterate over it with `for` or `async for`.

    An exception in the body arrives as the last reference: its `get` raises.  So does the death of
    the worker, once no retries are left.  Made by `.remote()`; not for several threads at once, and
    not to be sent to other processes.
    """

    __module__ = "whipray"

    async def __anext__(self) -> _core.ObjectRef[T]:
        return await self._next_async()

    def __aiter__(self) -> AsyncIterator[_core.ObjectRef[T]]:
        return self

    async def _next_async(self, timeout_s: float | None = None) -> _core.ObjectRef[T]:
        """Like `_next_sync`, for coroutines; raises StopAsyncIteration at the end."""
        if not await _complete(self._item, timeout_s):
            return _core.ObjectRef.nil()
        ref = self._take()
        if ref is None:
            if not await _complete(self._generator_ref, timeout_s):
                return _core.ObjectRef.nil()
            ref = self._take_failure()
        if ref is None:
            raise StopAsyncIteration
        return ref

    def _get_next_ref_n(self, num_refs: int) -> list[_core.ObjectRef[T]]:
        """The next reference, in a list; it may be pending and is not read by this."""
        if num_refs <= 0:
            raise ValueError("num_refs must be positive")
        if num_refs > 1:
            raise NotImplementedError(
                "An item has a reference once the one before it has been yielded: num_refs is 1."
            )
        return [self._item]

    def _consume_next_ref_n(self, num_refs: int) -> None:
        """Read on past references that `_get_next_ref_n` gave and that are complete by now."""
        if num_refs <= 0:
            raise ValueError("num_refs must be positive")
        from whipray._private.completion import PENDING

        for _ in range(num_refs):
            if _core.phase(self._item) == PENDING:
                raise ValueError("the next item is not there yet; wait for its reference")
            if self._take() is None:
                return

    def _get_next_object_id_binary(self) -> bytes:
        """The id of the next item."""
        return self._item.binary()

    def send(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.send` is not supported.")

    def throw(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.throw` is not supported.")

    def close(self) -> NoReturn:
        raise NotImplementedError("`gen.close` is not supported.")

    async def asend(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.asend` is not supported.")

    async def athrow(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.athrow` is not supported.")

    async def aclose(self) -> NoReturn:
        raise NotImplementedError("`gen.aclose` is not supported.")

    def __getstate__(self) -> NoReturn:
        raise TypeError(NOT_PICKLED)

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_PICKLED)


class DynamicObjectRefGenerator:
    """References to what a task with num_returns="dynamic" has yielded; each is given once."""

    def __init__(self, refs: Iterable[_core.ObjectRef[Any]]) -> None:
        self._refs = deque(refs)

    def __iter__(self) -> Iterator[_core.ObjectRef[Any]]:
        while self._refs:
            yield self._refs.popleft()

    def __len__(self) -> int:
        return len(self._refs)


async def _complete(ref: _core.ObjectRef[Any], timeout_s: float | None) -> bool:
    """Wait until `ref` is complete; False after the time."""
    from whipray._private import completion

    if _core.phase(ref) != completion.PENDING:
        return True
    import asyncio

    timeout = None if timeout_s is None or timeout_s < 0 else timeout_s
    try:
        await asyncio.wait_for(completion.woken(ref), timeout)
    except TimeoutError:
        return False
    return True


def warn_of_dynamic() -> None:
    """Say that "dynamic" goes, by the class of warnings that Ray has where its name is used."""
    annotations = sys.modules.get("ray.util.annotations")
    kind = getattr(annotations, "RayDeprecationWarning", DeprecationWarning)
    hints.warn(
        "num_returns='dynamic' is deprecated and will be removed in a future Ray release. Use "
        "num_returns='streaming' instead.",
        kind,
    )


_core.set_stream_class(ObjectRefGenerator)
