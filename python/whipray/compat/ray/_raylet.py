"""What Ray's compiled module has and programs import from it: ids, references, a few constants.

A name that is not here belongs to Ray's engine; the ImportError says which one was wanted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

from whipray import _core
from whipray._core import ObjectRef
from whipray._private import labels
from whipray._private.options import GRAIN, IMPLICIT_RESOURCE
from whipray.compat.facade import show
from whipray.compat.kv import GcsClient
from whipray.compat.series import (
    merge_instantaneous_total_cython,
    time_weighted_average_cython,
)
from whipray.cross_language import Language

show(__name__, "whipray._private.ids")

ObjectID = ObjectRef
OPTIMIZED = True
RAY_NODE_ID_KEY = "ray.io/node-id"
RESOURCE_UNIT_SCALING = GRAIN
RAY_INTERNAL_NAMESPACE_PREFIX = "_ray_internal_"
IMPLICIT_RESOURCE_PREFIX = IMPLICIT_RESOURCE
GRPC_STATUS_CODE_UNAVAILABLE = 14
GRPC_STATUS_CODE_UNKNOWN = 2
GRPC_STATUS_CODE_DEADLINE_EXCEEDED = 4
GRPC_STATUS_CODE_RESOURCE_EXHAUSTED = 8
GRPC_STATUS_CODE_UNIMPLEMENTED = 12


class StreamingGeneratorStats(NamedTuple):
    """What a task's generator gets as the value of `yield`: seconds that storing the item took."""

    object_creation_dur_s: float | None = None


_core.set_item_stats(StreamingGeneratorStats)


class AuthenticationMode(enum.IntEnum):
    """How processes of Ray's own protocols prove who they are."""

    DISABLED = 0
    TOKEN = 1


def get_authentication_mode() -> AuthenticationMode:
    """DISABLED: the session's socket knows its user; there is no token to show."""
    return AuthenticationMode.DISABLED


def validate_authentication_token(auth_header: str) -> bool:
    """True: there are no tokens."""
    return True


def node_labels_match_selector(node_labels: dict[str, str], selector: dict[str, str]) -> bool:
    """Do the labels fulfil the selector?"""
    return labels.fit(node_labels, selector)


class MessagePackSerializer:
    """Values in the form that all languages of Ray read; needs the package msgpack."""

    @staticmethod
    def dumps(o: Any, python_serializer: Callable[[Any], Any] | None = None) -> bytes:
        """Packed; what msgpack does not know goes through `python_serializer`."""
        import msgpack

        packed: bytes = msgpack.packb(o, default=python_serializer, use_bin_type=True)
        return packed

    @staticmethod
    def loads(s: bytes, python_deserializer: Any = None) -> Any:
        """The value of what was packed."""
        import msgpack

        return msgpack.unpackb(s, raw=False, strict_map_key=False)


__all__ = [
    "GcsClient",
    "Language",
    "MessagePackSerializer",
    "ObjectID",
    "ObjectRef",
    "merge_instantaneous_total_cython",
    "time_weighted_average_cython",
]


def __getattr__(name: str) -> Any:
    if name in ("ObjectRefGenerator", "DynamicObjectRefGenerator"):
        import whipray

        return getattr(whipray, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
