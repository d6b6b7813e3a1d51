"""Backends and operations of collectives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

unset_timeout_ms = timedelta(milliseconds=-1)
"""No limit of time, as an option of an operation."""


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


# What a backend of Ray is told about one operation; `root_tensor` and `gpu_index` are those of a
# rank with several GPUs.


@dataclass
class AllReduceOptions:
    """Options of `allreduce`."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class BarrierOptions:
    """Options of `barrier`."""

    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class ReduceOptions:
    """Options of `reduce`."""

    reduceOp: ReduceOp = ReduceOp.SUM
    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class AllGatherOptions:
    """Options of `allgather`."""

    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class BroadcastOptions:
    """Options of `broadcast`."""

    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class ReduceScatterOptions:
    """Options of `reducescatter`."""

    reduceOp: ReduceOp = ReduceOp.SUM
    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class SendOptions:
    """Options of `send`."""

    dst_rank: int = 0
    dst_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: timedelta = unset_timeout_ms


@dataclass
class RecvOptions:
    """Options of `recv`."""

    src_rank: int = 0
    src_gpu_index: int = 0
    n_elements: int = 0
    unset_timeout_ms: timedelta = unset_timeout_ms
