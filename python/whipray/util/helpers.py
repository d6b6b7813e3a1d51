"""`ray.util.helpers`."""

from __future__ import annotations

from whipray.util import as_completed, map_unordered

__all__ = ["as_completed", "map_unordered"]
