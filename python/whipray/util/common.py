"""`ray.util.common`."""

from __future__ import annotations

INT32_MAX = 2**31 - 1
