"""The former place of `ray.util.queue`."""

from __future__ import annotations

from whipray.util.queue import Empty, Full, Queue

__all__ = ["Empty", "Full", "Queue"]
