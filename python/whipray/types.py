"""Types for annotations."""

from __future__ import annotations

from whipray._core import ObjectRef

__all__ = ["ObjectRef"]
