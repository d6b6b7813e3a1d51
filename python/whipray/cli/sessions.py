"""`whipray start` and `stop`."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from typing import Any

from whipray import _core
from whipray._private import discovery, machine
from whipray._private import labels as labels_of_node
from whipray.cli import accepted
from whipray.cli.values import json_object

PATIENCE = 16
"""Seconds that a session has to end before `stop` kills its daemon."""


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    start = commands.add_parser(
        "start", help="start a session that lives until `whipray stop`", description=_start.__doc__
    )
    start.add_argument("--head", action="store_true", help="required: this is the only machine")
    start.add_argument("--num-cpus", type=float, help="CPUs that tasks may claim")
    start.add_argument("--num-gpus", type=float, help="GPUs that tasks may claim")
    start.add_argument("--resources", default="{}", help="more resources, as '{\"name\": amount}'")
    start.add_argument("--object-store-memory", type=int, help="bytes for objects")
    start.add_argument("--memory", type=int, help="bytes of memory that tasks may claim")
    start.add_argument("--labels", default="", help="of this machine, as name=value,...")
    start.add_argument("--labels-file", help="more of them: a file with name: value, or JSON")
    start.add_argument("--object-spilling-directory", help="where objects go when memory is full")
    start.add_argument("--system-config", default="{}", help="settings of spilling, as JSON")
    start.add_argument("--temp-dir", help="directory for the session's files")
    start.add_argument("--block", action="store_true", help="stay until the session ends")
    start.add_argument("--address", help=argparse.SUPPRESS)
    start.add_argument("--autoscaling-config", help=argparse.SUPPRESS)
    accepted.add_start(start)
    accepted.add_style(start)
    start.set_defaults(run=_start)
    stop = commands.add_parser("stop", help="end all sessions that `whipray start` has started")
    stop.add_argument("-f", "--force", action="store_true", help="kill at once")
    stop.add_argument(
        "-g",
        "--grace-period",
        type=int,
        default=PATIENCE,
        help="seconds to end by itself (%(default)s)",
    )
    accepted.add_style(stop)
    stop.set_defaults(run=_stop)


# ---- start ---------------------------------------------------------------------------------------


def _start(options: argparse.Namespace) -> int:
    """Start a session that programs join with init(), init("auto") or its address."""
    if options.address or not options.head:
        raise ValueError("a session has one machine: give --head, and no --address")
    if options.autoscaling_config:
        raise ValueError("a session has one machine: there is nothing to scale")
    node_labels = labels_of_node.checked(_labels(options))
    there = discovery.last_started()
    if there is not None:
        raise ConnectionError(
            f"a session already runs, at unix:{discovery.socket_of(there)}: join it, or end it "
            "with `whipray stop` first"
        )
    config = machine.config(
        options.num_cpus,
        options.num_gpus,
        json_object("--resources", options.resources, " of names and amounts"),
        options.object_store_memory,
        options.memory,
    )
    config.update(machine.spilling(_private(options)))
    config.update(eager=False, standing=not options.block, log_to_driver=False)
    if options.temp_dir:
        config["temp_dir"] = os.path.abspath(options.temp_dir)
    info = _core.start(machine.daemon_path(), _core.pack(config), not options.block)
    labels_of_node.publish(node_labels)
    discovery.remember(info["session_dir"])
    _explain(info["session_dir"])
    if options.block:
        return _stay()
    _core.detach()
    return 0


def _private(options: argparse.Namespace) -> dict[str, Any]:
    """What init takes about spilling."""
    system_config = json_object("--system-config", options.system_config)
    found: dict[str, Any] = {"_system_config": system_config}
    if options.object_spilling_directory:
        found["object_spilling_directory"] = os.path.abspath(options.object_spilling_directory)
    return {name: value for name, value in found.items() if value}


def _labels(options: argparse.Namespace) -> dict[str, str]:
    """Those of the file, then those given by name."""
    found: dict[str, str] = {}
    if options.labels_file:
        with open(options.labels_file, encoding="utf-8") as file:
            text = file.read()
        if text.lstrip().startswith("{"):
            found.update(json_object("--labels-file", text))
        else:
            lines = [line for line in text.splitlines() if line.split("#")[0].strip()]
            found.update(_pair("--labels-file", line, ":") for line in lines)
    given = [part for part in options.labels.split(",") if part.strip()]
    found.update(_pair("--labels", part, "=") for part in given)
    return found


def _pair(option: str, text: str, between: str) -> tuple[str, str]:
    name, found, value = text.partition(between)
    if not found:
        raise ValueError(f"{option}: {text.strip()!r} is not of the form name{between}value")
    return name.strip(), value.strip().strip("'\"")


def _explain(session_dir: str) -> None:
    address = f"unix:{discovery.socket_of(session_dir)}"
    print(
        f"Whipray runtime started.\n\n"
        f"  --address='{address}'\n\n"
        f"Programs of this user join it with init(), or with init({address!r}).\n"
        f"`whipray status` shows what it does; `whipray stop` ends it.",
        flush=True,
    )


def _stay() -> int:
    """Until a signal, or the end of the session by other means; it ends with this process."""
    wanted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: wanted.append(number))
    while not wanted and _core.attached():
        try:
            _core.next_event(0.5)
        except ConnectionError:
            break
    reason = _core.end_reason()
    _core.detach()
    discovery.forget_dead()
    if not wanted:
        print(f"whipray: the session has ended: {reason}", file=sys.stderr)
    return 0


# ---- stop ----------------------------------------------------------------------------------------


def _stop(options: argparse.Namespace) -> int:
    ended = 0
    for session_dir in discovery.started():
        pid = discovery.daemon_of(session_dir)
        if pid is not None:
            _end(session_dir, pid, options.force, options.grace_period)
            ended += 1
        shutil.rmtree(session_dir, ignore_errors=True)
    discovery.forget_dead()
    print(f"Stopped {ended} session{'s' if ended != 1 else ''}." if ended else "No session runs.")
    return 0


def _end(session_dir: str, pid: int, force: bool, patience: float) -> None:
    """The pid is the daemon's for as long as the lock is held: it is looked at once more."""
    try:
        daemon = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if discovery.daemon_of(session_dir) != pid:
            return
        signal.pidfd_send_signal(daemon, signal.SIGKILL if force else signal.SIGTERM)
        if not _gone(session_dir, patience):
            signal.pidfd_send_signal(daemon, signal.SIGKILL)
            _gone(session_dir, patience)
    except ProcessLookupError:
        pass
    finally:
        os.close(daemon)


def _gone(session_dir: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while discovery.daemon_of(session_dir) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
