"""Ids other than object references: immutable bytes of a fixed length with a type of their own."""

from __future__ import annotations

import os
from typing import Any, ClassVar, TypeVar

from whipray import _core

Self = TypeVar("Self", bound="BaseID")


class BaseID:
    """`binary()`, `hex()`, equality and hash of one kind of id."""

    SIZE: ClassVar[int] = 28
    __slots__ = ("_bytes",)

    def __init__(self, id: bytes) -> None:
        if not isinstance(id, bytes):
            raise TypeError(f"Unsupported type: {type(id)}; an id is made of bytes")
        if len(id) != self.SIZE:
            raise ValueError(
                f"ID string needs to have length {self.SIZE}, got {len(id)} ({type(self).__name__})"
            )
        self._bytes = id

    @classmethod
    def size(cls) -> int:
        """Length in bytes."""
        return cls.SIZE

    @classmethod
    def nil(cls: type[Self]) -> Self:
        """The id that names nothing."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def from_random(cls: type[Self]) -> Self:
        """A new id."""
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def from_hex(cls: type[Self], hex_id: str | bytes) -> Self:
        """The id whose `hex()` is given."""
        text = hex_id.decode() if isinstance(hex_id, bytes) else hex_id
        return cls(bytes.fromhex(text))

    @classmethod
    def from_binary(cls: type[Self], id_bytes: bytes) -> Self:
        """The id whose `binary()` is given."""
        return cls(id_bytes)

    def binary(self) -> bytes:
        """The bytes."""
        return self._bytes

    def hex(self) -> str:
        """The bytes as text."""
        return self._bytes.hex()

    def is_nil(self) -> bool:
        """True for `nil()`."""
        return self._bytes == b"\xff" * self.SIZE

    def __bytes__(self) -> bytes:
        return self._bytes

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._bytes,)


class UniqueID(BaseID):
    """An id without further meaning."""

    __slots__ = ()


class NodeID(UniqueID):
    """A node."""

    __slots__ = ()


class WorkerID(UniqueID):
    """A process of the session."""

    __slots__ = ()


class FunctionID(UniqueID):
    """A remote function."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """An actor class."""

    __slots__ = ()


class ClusterID(UniqueID):
    """A cluster."""

    __slots__ = ()


class JobID(BaseID):
    """A driver's job."""

    SIZE = 4
    __slots__ = ()

    @classmethod
    def from_int(cls, value: int) -> JobID:
        """The job of that number."""
        return cls(value.to_bytes(4, "little"))

    def int(self) -> int:
        """Its number."""
        return int.from_bytes(self._bytes, "little")


class TaskID(BaseID):
    """A task: the first 24 bytes of the references it returns."""

    SIZE = 24
    __slots__ = ()

    def job_id(self) -> JobID:
        """The job the task belongs to."""
        return JobID(self._bytes[20:24])


class ActorID(BaseID):
    """An actor."""

    SIZE = 16
    __slots__ = ()

    @property
    def job_id(self) -> JobID:
        """The job that created the actor."""
        return JobID(self._bytes[4:8])


class PlacementGroupID(BaseID):
    """A placement group."""

    SIZE = 18
    __slots__ = ()


def node_id_of(session_hex: str) -> NodeID:
    """The id of the only node of the session."""
    raw = bytes.fromhex(session_hex) if session_hex else bytes(16)
    return NodeID((raw + b"\0" * NodeID.SIZE)[: NodeID.SIZE])


def worker_id_of(session_hex: str, slot: int, gen: int) -> WorkerID:
    """The id of the process that holds `slot` for the `gen`th time."""
    raw = (bytes.fromhex(session_hex) + bytes(16))[:16]
    tail = slot.to_bytes(4, "little") + gen.to_bytes(4, "little") + bytes(4)
    head = int.from_bytes(raw[:4], "little") ^ _core.ident_mask(slot, gen)
    return WorkerID(head.to_bytes(4, "little") + raw[4:] + tail)  # differs in its first digits
