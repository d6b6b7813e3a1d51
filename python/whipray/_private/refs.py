"""The rarer methods of ObjectRef, given to the C type when the package is imported."""

from __future__ import annotations

from whipray import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future
    from types import GenericAlias
    from typing import Any

    from whipray._core import ObjectRef
    from whipray._private.ids import JobID, TaskID


def attach(cls: type[Any]) -> None:
    """Make the functions below methods of `cls`."""
    for function in (
        future,
        as_future,
        _on_completed,
        _on_ready,
        _ready,
        task_id,
        job_id,
        call_site,
    ):
        setattr(cls, function.__name__, function)
    cls.__class_getitem__ = classmethod(_class_getitem)
    cls.from_binary = classmethod(_from_binary)
    _core.set_await(_await)


def _class_getitem(cls: type[Any], item: Any) -> GenericAlias:
    """`ObjectRef[int]` in annotations."""
    from types import GenericAlias

    return GenericAlias(cls, item)


def _from_binary(cls: type[Any], id_bytes: bytes) -> Any:
    """The reference whose `binary()` is given."""
    return cls(id_bytes)


def future(self: ObjectRef[Any]) -> Future[Any]:
    """A concurrent.futures.Future that gets the value, or the error, once it is there."""
    from whipray._private.completion import future_of

    return future_of(self)


def as_future(self: ObjectRef[Any], _internal: bool = False) -> Any:
    """An asyncio future of the running loop."""
    from whipray._private.completion import asyncio_future_of

    return asyncio_future_of(self)


def _await(self: ObjectRef[Any]) -> Generator[Any, None, Any]:
    """`await ref`, under whichever event loop runs."""
    from whipray._private.completion import await_ref

    return await_ref(self)


def _on_completed(self: ObjectRef[Any], callback: Callable[[Any], Any]) -> None:
    """Call `callback(value or error)` from a thread of its own once the object is there."""
    from whipray._private.completion import on_completed

    on_completed(self, callback)


def _on_ready(
    self: ObjectRef[Any], callback: Callable[[BaseException | None], Any]
) -> Callable[[], None]:
    """Call `callback(None)` once the object is there, unread; returns what cancels that."""
    from whipray._private.completion import on_ready

    return on_ready(self, callback)


async def _ready(self: ObjectRef[Any]) -> ObjectRef[Any]:
    """Wait until the object is there, and return this reference to it."""
    from whipray._private.completion import PENDING, woken

    if _core.phase(self) == PENDING:
        await woken(self)
    return self


def task_id(self: ObjectRef[Any]) -> TaskID:
    """The task that makes the object; for a put, an id of its own."""
    from whipray._private.ids import TaskID

    return TaskID(self._task())


def job_id(self: ObjectRef[Any]) -> JobID:
    """The job of this process."""
    from whipray._private.ids import JobID

    return JobID.from_int(int(_core.info().get("job", 0)))


def call_site(self: ObjectRef[Any]) -> str:
    """Where the reference was created; not recorded."""
    return ""
