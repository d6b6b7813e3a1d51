"""What earlier versions of Ray had as `ray.internal`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whipray import _core
from whipray._private import worker

__all__ = ["free", "memory_summary"]

_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
_SHOWN = ("object_id", "object_size", "task_status", "reference_type", "type", "pid")


def free(object_refs: Any, local_only: bool = False) -> None:
    """Check the references, and nothing else: a value is freed with its last reference.

    Programs that call this drop theirs anyhow; whoever keeps one can go on using the value.
    TypeError for what is no reference or list of them.
    """
    worker.require_attached("free")
    refs = [object_refs] if isinstance(object_refs, _core.ObjectRef) else object_refs
    if not isinstance(refs, list):
        raise TypeError(f"free() expects a list of ObjectRef, got {type(refs)}")
    for ref in refs:
        if not isinstance(ref, _core.ObjectRef):
            raise TypeError(f"Attempting to call `free` on the value {ref}, which is not a ref.")


def memory_summary(
    address: str | None = None,
    group_by: str = "NODE_ADDRESS",
    sort_by: str = "OBJECT_SIZE",
    units: str = "B",
    line_wrap: bool = True,
    stats_only: bool = False,
    num_entries: int | None = None,
) -> str:
    """The objects of the open session, largest first, and what the store holds, as a text.

    `address`, `group_by` and `line_wrap` are accepted: there is one session and one node.
    """
    worker.require_attached("memory_summary")
    if units not in _UNITS:
        raise ValueError(f"units must be one of {', '.join(_UNITS)}, not {units!r}")
    if sort_by not in ("PID", "OBJECT_SIZE", "REFERENCE_TYPE"):
        raise ValueError(f"sort_by must be PID, OBJECT_SIZE or REFERENCE_TYPE, not {sort_by!r}")
    lines = [] if stats_only else list(_table(sort_by.lower(), units, num_entries))
    stats = _core.stats()
    used, there = (stats[name] / _UNITS[units] for name in ("store_used", "store_bytes"))
    return "\n".join([*lines, f"Objects use {used:g} {units} of {there:g} {units}."])


def _table(column: str, units: str, limit: int | None) -> Iterator[str]:
    from whipray.util.state import rows

    found = sorted(rows.objects(), key=lambda row: _order(row[column]))
    yield "  ".join(_SHOWN)
    for row in found[:limit]:
        size = max(0, row["object_size"] or 0) / _UNITS[units]
        shown = {**row, "object_size": f"{size:g} {units}"}
        yield "  ".join(str(shown[name]) for name in _SHOWN)
    yield ""


def _order(value: Any) -> Any:
    """Numbers from the largest down, texts by the alphabet."""
    return -(value or 0) if isinstance(value, int | None) else value
