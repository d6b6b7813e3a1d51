"""`whipray memory`: the objects of a session by size, and what they take."""

from __future__ import annotations

import argparse
from typing import Any

from whipray.cli import joining, listing

_SORTS = {
    "OBJECT_SIZE": lambda row: -row.object_size,
    "PID": lambda row: row.pid,
    "REFERENCE_TYPE": lambda row: row.reference_type,
}
_GROUPS = {"NODE_ADDRESS": "ip", "STACK_TRACE": "call_site"}
"""Columns by which rows may be grouped."""
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    memory = commands.add_parser("memory", help="objects by size, and who holds them")
    memory.add_argument("--sort-by", choices=_SORTS, default="OBJECT_SIZE")
    memory.add_argument("--group-by", choices=_GROUPS, default="NODE_ADDRESS")
    memory.add_argument("--units", choices=_UNITS, default="B", help="of sizes")
    memory.add_argument("--stats-only", action="store_true", help="no rows")
    memory.add_argument(
        "--limit",
        "--num-entries",
        "--n",
        dest="limit",
        type=listing.rows_at_most,
        default=50,
        help="rows of each group at most (50)",
    )
    memory.add_argument("--no-format", action="store_true", help=argparse.SUPPRESS)
    joining.add_address(memory)
    memory.set_defaults(run=_memory)


def _memory(options: argparse.Namespace) -> int:
    with joining.joined(options.address):
        import whipray
        from whipray.util.state import common, queries

        rows = queries.found(common.ObjectState, None, 1 << 62, True)
        total = whipray.cluster_resources()["object_store_memory"]
    used = sum(max(0, row.object_size) for row in rows)
    print(f"{len(rows)} objects, {used / (1 << 20):.1f} MiB of {total / (1 << 20):.1f} MiB")
    if options.stats_only:
        return 0
    rows.sort(key=_SORTS[options.sort_by])
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.get(_GROUPS[options.group_by]), []).append(row)
    for name, members in groups.items() or {"": []}.items():
        print(f"\n{options.group_by}: {name}" if len(groups) > 1 else "")
        _print(members[: options.limit], _UNITS[options.units], options.units)
    return 0


def _print(rows: list[Any], unit: int, unit_name: str) -> None:
    names = ["object_id", "object_size", "task_status", "reference_type", "type", "pid"]
    listing.table(
        [f"{name} ({unit_name})" if name == "object_size" else name for name in names],
        [[_cell(name, row.get(name), unit) for name in names] for row in rows],
    )


def _cell(name: str, value: Any, unit: int) -> Any:
    if name != "object_size":
        return value
    return "?" if value < 0 else f"{value / unit:.3f}" if unit > 1 else value
