"""What libraries ask about tracing: it is off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def _is_tracing_enabled() -> bool:
    return False


def _inject_tracing_into_function(function: T) -> T:
    return function


def _inject_tracing_into_class(_cls: T) -> T:
    return _cls
