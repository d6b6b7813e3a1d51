"""`ray.util.check_serialize`."""

from __future__ import annotations

from whipray.util import inspect_serializability

__all__ = ["inspect_serializability"]
