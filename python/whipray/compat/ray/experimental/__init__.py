"""`ray.experimental`: where objects are."""

from __future__ import annotations

from typing import Any

from whipray.compat.facade import show

show(__name__)


def get_object_locations(obj_refs: list[Any], timeout_ms: int = -1) -> dict[Any, dict[str, Any]]:
    """{ref: {"node_ids": [...], "object_size": bytes or None, "did_spill": False}}.

    An object that is there is on the one node; one that is still being made is nowhere.
    """
    from whipray import _core
    from whipray._private import worker
    from whipray.runtime_context import get_runtime_context

    worker.require_attached("get_object_locations")
    node = get_runtime_context().get_node_id()
    found = {}
    for ref in obj_refs:
        ready = bool(_core.wait([ref], 1, 0)[0])
        found[ref] = {
            "node_ids": [node] if ready else [],
            "object_size": _size(ref) if ready else None,
            "did_spill": False,
        }
    return found


get_local_object_locations = get_object_locations


def _size(ref: Any) -> int | None:
    """Bytes of the object, where the engine tells."""
    from whipray import _core

    ask = getattr(_core, "object_size", None)
    return None if ask is None else int(ask(ref))
