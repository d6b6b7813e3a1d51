"""Where objects are, and how large."""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray._private import api, worker

Locations = dict["_core.ObjectRef[Any]", dict[str, Any]]


def get_object_locations(obj_refs: list[_core.ObjectRef[Any]], timeout_ms: int = -1) -> Locations:
    """{ref: {"node_ids": [...], "object_size": bytes or None, "did_spill": False}}.

    An object that is there is on the one node; one that is still being made is nowhere.
    """
    worker.require_attached("get_object_locations", RuntimeError)
    from whipray.runtime_context import get_runtime_context

    node = get_runtime_context().get_node_id()
    found: Locations = {}
    for ref in obj_refs:
        ready = bool(api.wait([ref], timeout=0)[0])
        found[ref] = {
            "node_ids": [node] if ready else [],
            "object_size": _core.object_size(ref) if ready else None,
            "did_spill": False,
        }
    return found


def get_local_object_locations(obj_refs: list[_core.ObjectRef[Any]]) -> Locations:
    """The same as get_object_locations: there is one node."""
    return get_object_locations(obj_refs)
