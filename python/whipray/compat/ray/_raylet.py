"""What Ray's compiled module has and programs import from it: ids, references, a few constants.

A name that is not here belongs to Ray's engine; the ImportError says which one was wanted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from whipray import _core
from whipray._core import ObjectRef
from whipray.compat.facade import show
from whipray.compat.kv import GcsClient
from whipray.cross_language import Language

show(__name__, "whipray._private.ids")

ObjectID = ObjectRef
RAY_NODE_ID_KEY = "ray.io/node-id"
GRPC_STATUS_CODE_UNAVAILABLE = 14
GRPC_STATUS_CODE_UNKNOWN = 2
GRPC_STATUS_CODE_DEADLINE_EXCEEDED = 4
GRPC_STATUS_CODE_RESOURCE_EXHAUSTED = 8
GRPC_STATUS_CODE_UNIMPLEMENTED = 12


class StreamingGeneratorStats(NamedTuple):
    """What a task's generator gets as the value of `yield`: seconds that storing the item took."""

    object_creation_dur_s: float | None = None


_core.set_item_stats(StreamingGeneratorStats)


__all__ = ["GcsClient", "Language", "ObjectID", "ObjectRef"]


def __getattr__(name: str) -> Any:
    if name in ("ObjectRefGenerator", "DynamicObjectRefGenerator"):
        import whipray

        return getattr(whipray, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
