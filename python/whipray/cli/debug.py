"""`whipray debug`: everything that a session has at one moment; break points of its workers.

The dump is read from the shared records without a change to them; what happens meanwhile may be
missing, or stand there twice.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from whipray import _core
from whipray.cli import joining

ROLES = {1: "daemon", 2: "driver", 3: "worker"}
PHASES = {1: "starting", 2: "live", 3: "dead"}
ACTIVITIES = {
    0: "-",
    1: "idle, watching",
    2: "idle, asleep",
    3: "runs a task",
    4: "waits inside a task",
    5: "is an actor",
}
"""Values of shm/layout.h."""


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    debug = commands.add_parser("debug", help="look into a session that does not go on")
    joining.add_address(debug)
    debug.set_defaults(run=_attach, name=None)  # as Ray's command, which has no actions
    actions = debug.add_subparsers(metavar="ACTION")
    dump = actions.add_parser(
        "dump", help="all processes, waits, actors, tasks and objects", description=__doc__
    )
    dump.add_argument("--limit", type=int, default=1000, help="tasks and objects at most (1000)")
    joining.add_address(dump)
    dump.set_defaults(run=_dump)
    attach = actions.add_parser(
        "attach",
        help="talk to a break point",
        description="Talk to pdb at a break point of a worker: set_trace() or breakpoint().",
    )
    attach.add_argument("name", nargs="?", help="of the break point; needed if several wait")
    joining.add_address(attach)
    attach.set_defaults(run=_attach)


def _attach(options: argparse.Namespace) -> int:
    from whipray.util import rpdb

    session_dir = joining.session_dir(options.address)
    names = rpdb.waiting(session_dir)
    wanted = [name for name in names if options.name in (None, name)]
    if len(wanted) != 1:
        shown = ", ".join(names) or "none"
        raise ValueError(f"name the break point to attach to; these wait: {shown}")
    with rpdb.connected(session_dir, wanted[0]) as connection:
        _talk(connection)
    return 0


def _talk(connection: socket.socket) -> None:
    """Lines from standard input go there and what comes back is printed, until that side ends."""
    sources: list[Any] = [connection, 0]
    while True:
        for ready in select.select(sources, [], [])[0]:
            data = os.read(0, 65536) if ready == 0 else connection.recv(65536)
            if ready == 0:
                if data:
                    connection.sendall(data)
                else:
                    sources.remove(0)
                    connection.shutdown(socket.SHUT_WR)
            elif data:
                sys.stdout.write(data.decode("utf-8", "replace"))
                sys.stdout.flush()
            else:
                return


def _dump(options: argparse.Namespace) -> int:
    with joining.joined(options.address) as session_dir:
        print(f"session {session_dir}")
        for title, lines in (
            ("processes", _processes()),
            ("waits", _waits()),
            ("actors", _actors()),
            ("tasks", _tasks(options.limit)),
            ("objects", _objects(options.limit)),
            ("resources", _resources()),
        ):
            print(f"\n{title}")
            for line in lines:
                print(f"  {line}")
    return 0


def _processes() -> Iterator[str]:
    now = time.monotonic_ns()
    for row in _core.procs():
        if row["pid"] == os.getpid():
            continue  # who asks
        age = (now - row["started_ns"]) / 1e9
        yield (
            f"slot {row['slot']:<4} pid {row['pid']:<8} {ROLES.get(row['role'], '?'):<7}"
            f" {PHASES.get(row['phase'], '?'):<9} job of slot {row['job']:<4}"
            f" {ACTIVITIES.get(row['activity'], '?'):<20} age {age:9.1f} s"
            f"  done {row['tasks_done']:<8} {row['title']}"
        )


def _waits() -> Iterator[str]:
    for row in _core.procs():
        if row["awaits"]:
            yield (
                f"slot {row['slot']} (pid {row['pid']}, {row['title'] or ROLES.get(row['role'])})"
                f" sleeps until object {row['awaits'].hex()} is there"
            )


def _actors() -> Iterator[str]:
    from whipray.util.state import rows

    for row in rows.actors():
        named = f" {row['ray_namespace']}/{row['name']}" if row["name"] else ""
        yield (
            f"{row['actor_id']} {row['class_name']}{named}: {row['state']}, pid {row['pid']},"
            f" job {row['job_id']}, restarts {row['num_restarts']}"
            f"{', detached' if row['is_detached'] else ''}"
        )


def _tasks(limit: int) -> Iterator[str]:
    from whipray.util.state import rows

    for count, row in enumerate(rows.tasks()):
        if count >= limit:
            yield "..."
            return
        holder = f"pid {row['worker_pid']}" if row["worker_pid"] else "nobody"
        yield (
            f"{row['task_id']} {row['name']}: {row['state']}, held by {holder},"
            f" attempt {row['attempt_number']}, job {row['job_id']}"
        )


def _objects(limit: int) -> Iterator[str]:
    from whipray.util.state import rows

    for count, row in enumerate(rows.objects()):
        if count >= limit:
            yield "..."
            return
        yield (
            f"{row['object_id']} {row['task_status']}, {row['object_size']} bytes, made by pid"
            f" {row['pid']} ({row['type'].lower()}), {row['reference_type']}"
        )


def _resources() -> Iterator[str]:
    for name, total, free in _core.resources():
        yield f"{name}: {total - free:g} of {total:g} in use"
