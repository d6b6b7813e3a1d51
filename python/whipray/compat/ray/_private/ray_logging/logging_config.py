"""`ray._private.ray_logging.logging_config`."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__, "whipray._private.logging_config")
