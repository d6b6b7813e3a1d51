"""`ray.util`."""

from __future__ import annotations

from whipray.compat.facade import show
from whipray.util.annotations import PublicAPI as PublicAPI

show(__name__, "whipray.util")
