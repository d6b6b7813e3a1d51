"""What Ray's compiled module has and programs import from it: ids, references, a few constants.

A name that is not here belongs to Ray's engine; the ImportError says which one was wanted.
"""

from __future__ import annotations

import enum

from whipray._core import ObjectRef
from whipray.compat.facade import show
from whipray.compat.kv import GcsClient

show(__name__, "whipray._private.ids")

ObjectID = ObjectRef
RAY_NODE_ID_KEY = "ray.io/node-id"
GRPC_STATUS_CODE_UNAVAILABLE = 14
GRPC_STATUS_CODE_UNKNOWN = 2
GRPC_STATUS_CODE_DEADLINE_EXCEEDED = 4
GRPC_STATUS_CODE_RESOURCE_EXHAUSTED = 8
GRPC_STATUS_CODE_UNIMPLEMENTED = 12


class Language(enum.IntEnum):
    """Languages of workers; here there is one."""

    PYTHON = 0
    JAVA = 1
    CPP = 2


__all__ = ["GcsClient", "Language", "ObjectID", "ObjectRef"]
