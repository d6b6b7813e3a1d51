"""`ray._private.ray_logging`: where Ray defines `LoggingConfig`."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__)
