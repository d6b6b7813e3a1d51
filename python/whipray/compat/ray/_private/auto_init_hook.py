"""Starting a session on first use; the engine does that by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def auto_init_ray() -> None:
    """Start a session if there is none."""
    from whipray._private import worker

    worker.ensure_attached()


def wrap_auto_init(fn: F) -> F:
    """`fn`, which starts a session before its work."""
    import functools

    @functools.wraps(fn)
    def start_first(*args: Any, **kwargs: Any) -> Any:
        auto_init_ray()
        return fn(*args, **kwargs)

    return start_first  # type: ignore[return-value]
