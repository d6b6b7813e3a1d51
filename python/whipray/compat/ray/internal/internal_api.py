"""The former place of `ray._private.internal_api`."""

from __future__ import annotations

from whipray.internal import free, memory_summary

__all__ = ["free", "memory_summary"]
