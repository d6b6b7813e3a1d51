"""The interface of `multiprocessing.Pool`, with actors as its processes."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from whipray.util.multiprocessing.pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
