"""`ray._private.internal_api`: questions of Ray's libraries about the store and lost objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from whipray import _core
from whipray.internal import free, memory_summary

__all__ = ["free", "memory_summary"]


def get_state_from_address(address: str) -> Any:
    """The state of the open session; there is no other."""
    from ray._private.state import state

    return state


def get_memory_info_reply(state: Any, *args: Any, **kwargs: Any) -> Any:
    """Totals of the store; what is spilled counts as 0 where the engine does not tell."""
    found = _core.stats()
    totals = {
        name: found.get(name, 0)
        for name in (
            "spill_time_total_s",
            "spilled_bytes_total",
            "restore_time_total_s",
            "restored_bytes_total",
        )
    }
    used = {
        "object_store_bytes_used": found["store_used"],
        "object_store_bytes_avail": found["store_bytes"],
    }
    return SimpleNamespace(store_stats=SimpleNamespace(**totals, **used))


def get_local_ongoing_lineage_reconstruction_tasks() -> list[Any]:
    """[]: which lost values are being made again is not told."""
    return []
