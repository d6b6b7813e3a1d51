"""`ray.actor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union

from whipray import _core
from whipray.compat.facade import show

if TYPE_CHECKING:
    from whipray.actor import ActorHandle

T = TypeVar("T")

show(__name__, "whipray.actor")
_core.ActorMethod.__module__ = __name__

ActorProxy = Union["ActorHandle[T]", type[T]]


def __getattr__(name: str) -> Any:
    if name == "DynamicMethod":
        return _core.ActorMethod
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
