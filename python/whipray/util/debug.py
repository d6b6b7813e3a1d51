"""`ray.util.debug`: what is to be logged once, and a search for leaks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whipray._private.leaks import Suspect

__all__ = [
    "Suspect",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "log_once",
    "reset_log_once",
]

PERIOD_SECONDS = 60.0
_logged: set[str] = set()
_disabled = False
_periodic = False
_last = 0.0


def log_once(key: str) -> bool:
    """True the first time it is asked with this key."""
    global _last
    now = time.monotonic()
    if _disabled:
        return False
    if _periodic and now - _last > PERIOD_SECONDS:
        _logged.clear()
    if key in _logged:
        return False
    _logged.add(key)
    _last = now
    return True


def disable_log_once_globally() -> None:
    """Let log_once be false in this process from now on."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """Let log_once be true again when it has not been for a minute."""
    global _periodic
    _periodic = True


def reset_log_once(key: str | None = None) -> None:
    """Let log_once be true again, for one key or all."""
    if key is None:
        _logged.clear()
    else:
        _logged.discard(key)


def __getattr__(name: str) -> Any:
    """The search for leaks, whose imports nobody else needs."""
    from whipray._private import leaks

    found = {"Suspect": leaks.Suspect, "_test_some_code_for_memory_leaks": leaks.find}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]
