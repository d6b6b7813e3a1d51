"""What the pools run; every worker imports this module, which imports nothing."""

from __future__ import annotations

from typing import Any


def noop() -> bytes:
    return b"ok"


def noop_of(_item: int) -> bytes:
    return b"ok"


def noop_chunk(items: range) -> list[bytes]:
    """A chunk as one writes it by hand where there is no map with chunks."""
    return [noop_of(item) for item in items]


def first(array: Any) -> int:
    return int(array[0])


def ones(size: int) -> Any:
    """A written array of ``size`` bytes."""
    import numpy as np

    return np.ones(size, dtype=np.uint8)
