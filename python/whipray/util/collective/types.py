"""Backends and operations of collectives."""

from __future__ import annotations

from enum import Enum


class Backend:
    """`Backend("gloo")` is the name of a backend in the form in which it is compared."""

    NCCL = "NCCL"
    GLOO = "GLOO"
    UNRECOGNIZED = "unrecognized"

    def __new__(cls, name: str) -> str:  # type: ignore[misc]
        """NCCL or GLOO; ValueError for any other name."""
        upper = name.upper()
        if upper in ("GLOO", "TORCH_GLOO"):
            return cls.GLOO
        if upper == "NCCL":
            return cls.NCCL
        raise ValueError(f"Unrecognized backend: '{name}'. Only NCCL and GLOO are supported")


class ReduceOp(Enum):
    """How values of all ranks become one."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3
