"""SIGTERM ends a driver as `sys.exit(15)` in its main thread does.

So its `finally` blocks and exit handlers run, and it leaves its session in order.  A program that
handles or ignores SIGTERM by itself is left alone.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from types import FrameType
from typing import NoReturn


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(number)


def begin() -> None:
    """From now on, if this is the main thread of the main interpreter: no other may say what a
    signal does."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, _leave)


def end() -> None:
    """No longer; another thread than the main one changes nothing."""
    if signal.getsignal(signal.SIGTERM) is _leave:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
