"""Ray's client mode, which is always off: a driver is a process of the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

is_client_mode_enabled = False
is_client_mode_enabled_by_default = False


def client_mode_hook(func: F | None = None, **kwargs: Any) -> Any:
    """Nothing to hook."""
    return (lambda inner: inner) if func is None else func


def client_mode_wrap(func: F) -> F:
    """Nothing to wrap."""
    return func


def client_mode_should_convert() -> bool:
    """False."""
    return False


@contextmanager
def disable_client_hook() -> Iterator[None]:
    """A block as any other."""
    yield
