"""`whipray status`: what a session has, and what of it is in use."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import Any

from whipray import _core
from whipray._private import discovery
from whipray.cli import joining

WAITS = "PENDING_NODE_ASSIGNMENT"


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    status = commands.add_parser("status", help="what a session has and does")
    status.add_argument(
        "-v", "--verbose", action="store_true", help="also what waits for resources"
    )
    joining.add_address(status)
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    with joining.joined(options.address) as session_dir:
        import whipray

        stats = _core.unpack(_core.rpc(18, _core.pack([])))[0]
        total, free = whipray.cluster_resources(), whipray.available_resources()
        print(f"Session {os.path.basename(session_dir)}, daemon {_core.info()['daemon_pid']}")
        print(f"  address: unix:{discovery.socket_of(session_dir)}")
        print("\nProcesses")
        print(f"  drivers: {stats['drivers'] - 1}")
        print(f"  workers: {stats['workers']} for tasks, {stats['actors']} actors")
        print(f"  died so far: {stats['deaths']}")
        print("\nUsage")
        for name in sorted(total):
            if not name.startswith("node:"):
                print(f"  {_share(name, total[name] - free.get(name, 0.0), total[name])}")
        if options.verbose:
            print("\nDemands")
            print("\n".join(f"  {line}" for line in _demands()) or "  (no resource demands)")
    return 0


def _share(name: str, used: float, total: float) -> str:
    if name in ("memory", "object_store_memory"):
        return f"{used / (1 << 30):.2f}GiB/{total / (1 << 30):.2f}GiB {name}"
    return f"{used:g}/{total:g} {name}"


def _demands() -> list[str]:
    """What tasks and actors wait for that have no place yet, and how many for the same."""
    from whipray.util.state import rows

    waiting = Counter(
        str(row["required_resources"])
        for found, state in ((rows.tasks(), WAITS), (rows.actors(), "PENDING_CREATION"))
        for row in found
        if row["state"] == state and row.get("type") != "ACTOR_CREATION_TASK"
    )
    return [f"{resources}: {n}+ pending tasks/actors" for resources, n in waiting.items()]
