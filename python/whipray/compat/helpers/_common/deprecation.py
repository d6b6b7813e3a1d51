"""Warnings about names that go."""

from __future__ import annotations

import warnings

DEPRECATED_VALUE = "__deprecated__"


def deprecation_warning(old: str, new: str | None = None, error: bool = False) -> None:
    """Warn, or raise ValueError, about the use of `old`."""
    text = f"`{old}` is deprecated" + (f"; use `{new}` instead." if new else ".")
    if error:
        raise ValueError(text)
    warnings.warn(text, DeprecationWarning, stacklevel=3)
