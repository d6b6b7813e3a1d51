"""`ray.util.debug`."""

from __future__ import annotations

import whipray.util as _util
from whipray.util import log_once


def reset_log_once(key: str | None = None) -> None:
    """Let log_once be true again, for one key or all."""
    if key is None:
        _util._logged.clear()
    else:
        _util._logged.discard(key)


__all__ = ["log_once", "reset_log_once"]
