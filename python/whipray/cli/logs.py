"""`whipray logs`: the log files of a session, by name or by who has written them."""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from collections.abc import Iterable
from typing import Any

from whipray.cli import accepted, joining

WHO = {"actor": "actor_id", "task": "task_id", "worker": "pid", "job": "submission_id"}
"""What may stand in place of a file's name, and what state.get_log calls its id."""


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    logs = commands.add_parser(
        "logs",
        help="log files of a session; their names if none is given",
        description="`logs` and `logs PATTERN` list files, or show the only one; `logs actor --id "
        "ID`, `logs task --id ID`, `logs worker --pid PID` and `logs job --id ID` show what those "
        "have written.",
    )
    logs.add_argument("name", nargs="?", help="name or pattern; or actor, task, worker, job")
    logs.add_argument("pattern", nargs="?", help=argparse.SUPPRESS)  # of `logs cluster PATTERN`
    logs.add_argument("--id", "-a", help="of the actor, task or job")
    logs.add_argument("--pid", "-pid", type=int, help="of the worker")
    logs.add_argument("--tail", type=int, default=1000, help="lines from the end (1000)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the file grows")
    logs.add_argument("--err", action="store_true", help=argparse.SUPPRESS)  # it is one file
    for name in ("--node-id", "-ip", "--node-ip", "--encoding", "--encoding-errors"):
        logs.add_argument(name, help=argparse.SUPPRESS)
    logs.add_argument("--attempt-number", help=argparse.SUPPRESS)
    logs.add_argument("--interval", type=float, help=argparse.SUPPRESS)
    accepted.add_timeout(logs)
    joining.add_address(logs)
    logs.set_defaults(run=_logs)


def _logs(options: argparse.Namespace) -> int:
    if options.name in WHO and (options.id or options.pid):
        return _of(options)
    if options.name in WHO and options.pattern is None:
        raise ValueError(f"logs {options.name}: name it by --id or --pid")
    name = options.pattern if options.name == "cluster" else options.name
    folder = os.path.join(joining.session_dir(options.address), "logs")
    found = sorted(fnmatch.filter(os.listdir(folder), name or "*"))
    if name and len(found) == 1:
        return _show(os.path.join(folder, found[0]), options)
    if name and not found:
        raise ValueError(f"there is no log file {name!r}; `whipray logs` lists them")
    for each in found:
        print(f"{os.path.getsize(os.path.join(folder, each)):>10}  {each}")
    return 0


def _show(path: str, options: argparse.Namespace) -> int:
    from whipray.util.state import logs

    seconds = options.interval or logs.LOOK_SECONDS
    _write(logs.read_tail(path, options.tail, options.follow, seconds))
    return 0


def _write(texts: Iterable[Any]) -> None:
    for text in texts:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()


def _of(options: argparse.Namespace) -> int:
    """What an actor, a task, a worker or a job has written."""
    from whipray.util.state import logs
    from whipray.util.state.exception import RayStateApiException

    wanted = {WHO[options.name]: options.id} if options.id else {"pid": options.pid}
    with joining.joined(options.address):
        try:
            _write(logs.get_log(follow=options.follow, tail=options.tail, encoding=None, **wanted))
        except RayStateApiException as error:
            raise ValueError(str(error)) from None
    return 0
