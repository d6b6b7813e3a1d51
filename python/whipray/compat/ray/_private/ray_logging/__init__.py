"""`ray._private.ray_logging`: where Ray defines `LoggingConfig`."""

from __future__ import annotations

from whipray._private.log_dedup import _VARYING as NUMBERS
from whipray.compat.facade import show

__all__ = ["NUMBERS"]

show(__name__)
