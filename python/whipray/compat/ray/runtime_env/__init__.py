"""`ray.runtime_env`, a package in Ray."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__, "whipray.runtime_env")
