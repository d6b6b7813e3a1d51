"""`ray.internal`."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__, "whipray.internal")
