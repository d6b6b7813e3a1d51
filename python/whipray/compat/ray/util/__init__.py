"""`ray.util`."""

from __future__ import annotations

import importlib
from typing import Any

from whipray.compat.facade import show
from whipray.util.annotations import PublicAPI as PublicAPI

del annotations  # of __future__: the name is that of a module here
show(__name__, "whipray.util")

_ALIASES = {"pdb": "ray.util.rpdb", "ray_debugpy": "ray.util.debugpy"}


def __getattr__(name: str) -> Any:
    if name in _ALIASES:
        return importlib.import_module(_ALIASES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def get_node_instance_id() -> str:
    """Id of the machine, which is that of the node."""
    from whipray import get_runtime_context

    return get_runtime_context().get_node_id()
