"""`ray.experimental.locations`."""

from __future__ import annotations

from . import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations"]
