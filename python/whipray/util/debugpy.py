"""`ray.util.ray_debugpy`: the break points of `whipray.util.rpdb`; no debugpy, no port."""

from __future__ import annotations

from whipray.util.rpdb import set_trace

__all__ = ["set_trace"]
