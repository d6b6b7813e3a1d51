"""`ray.actor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union

from whipray import _core
from whipray.actor import ActorHandle as _ActorHandle
from whipray.compat.facade import show

if TYPE_CHECKING:
    from whipray.actor import ActorHandle

T = TypeVar("T")

show(__name__, "whipray.actor")
_core.ActorMethod.__module__ = __name__


def _get_local_state(self: Any) -> int:
    """1: is made, 2: alive, 3: is restarted, 4: dead; numbers of Ray's that the engine shares."""
    return _core.actor_state(self)[0]


setattr(_ActorHandle, "_get_local_state", _get_local_state)  # noqa: B010 - no name of Whipray's

ActorProxy = Union["ActorHandle[T]", type[T]]


def __getattr__(name: str) -> Any:
    if name == "DynamicMethod":
        return _core.ActorMethod
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
