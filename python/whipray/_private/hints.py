"""Help for those who made a mistake: names that were perhaps meant, warnings at their line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType


def meant(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" when one of the known names is much like `name`, or one alone has it
    in it; else ""."""
    from difflib import get_close_matches

    public = [other for other in known if not other.startswith("_")]
    found = get_close_matches(name, public, 1, 0.7)
    longer = [other for other in public if name in other]
    if not found and len(name) > 2 and len(longer) == 1:
        found = longer
    return f" Did you mean '{found[0]}'?" if found else ""


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line that called into Whipray, however deep in it this is."""
    import warnings

    warnings.warn(text, category, stacklevel=_outside()[1])


def place() -> str:
    """ "file:line" of the line that called into Whipray, however deep in it this is."""
    frame = _outside()[0]
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _outside() -> tuple[FrameType, int]:
    """The frame that called into Whipray, and its level for a warning of the caller."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return frame, level


def _is_ours(module: str) -> bool:
    return module == "whipray" or module.startswith("whipray.")
