"""`whipray start`, `stop` and `status`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from typing import Any

from whipray import _core
from whipray._private import discovery, machine
from whipray.cli import joining

PATIENCE = 10.0
"""Seconds that a session has to end before `stop` kills its daemon."""


def add_commands(commands: Any) -> None:
    """Add the three commands to the parser."""
    start = commands.add_parser(
        "start", help="start a session that lives until `whipray stop`", description=_start.__doc__
    )
    start.add_argument("--head", action="store_true", help="required: this is the only machine")
    start.add_argument("--num-cpus", type=float, help="CPUs that tasks may claim")
    start.add_argument("--num-gpus", type=float, help="GPUs that tasks may claim")
    start.add_argument("--resources", default="{}", help="more resources, as '{\"name\": amount}'")
    start.add_argument("--object-store-memory", type=int, help="bytes for objects")
    start.add_argument("--temp-dir", help="directory for the session's files")
    start.add_argument("--block", action="store_true", help="stay until the session ends")
    for name in ("--port", "--dashboard-host", "--dashboard-port", "--include-dashboard"):
        start.add_argument(name, help=argparse.SUPPRESS)  # of Ray; there is no port and no page
    for name in ("--disable-usage-stats", "--verbose", "-v"):
        start.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    start.add_argument("--address", help=argparse.SUPPRESS)
    start.set_defaults(run=_start)
    stop = commands.add_parser("stop", help="end all sessions that `whipray start` has started")
    stop.add_argument("-f", "--force", action="store_true", help="kill at once")
    stop.set_defaults(run=_stop)
    status = commands.add_parser("status", help="what a session has and does")
    status.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
    joining.add_address(status)
    status.set_defaults(run=_status)


# ---- start ---------------------------------------------------------------------------------------


def _start(options: argparse.Namespace) -> int:
    """Start a session that programs join with init(), init("auto") or its address."""
    if options.address or not options.head:
        raise ValueError("a session has one machine: give --head, and no --address")
    there = discovery.last_started()
    if there is not None:
        raise ConnectionError(
            f"a session already runs, at unix:{discovery.socket_of(there)}: join it, or end it "
            "with `whipray stop` first"
        )
    config = machine.config(
        options.num_cpus,
        options.num_gpus,
        _resources(options.resources),
        options.object_store_memory,
    )
    config.update(eager=False, standing=not options.block, log_to_driver=False)
    if options.temp_dir:
        config["temp_dir"] = os.path.abspath(options.temp_dir)
    info = _core.start(machine.daemon_path(), _core.pack(config), not options.block)
    discovery.remember(info["session_dir"])
    _explain(info["session_dir"])
    if options.block:
        return _stay()
    _core.detach()
    return 0


def _resources(text: str) -> dict[str, float]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--resources is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("--resources must be a JSON object of names and amounts")
    return found


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
            _end(session_dir, pid, options.force)
            ended += 1
        shutil.rmtree(session_dir, ignore_errors=True)
    discovery.forget_dead()
    print(f"Stopped {ended} session{'s' if ended != 1 else ''}." if ended else "No session runs.")
    return 0


def _end(session_dir: str, pid: int, force: bool) -> None:
    """The pid is the daemon's for as long as the lock is held: it is looked at once more."""
    try:
        daemon = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if discovery.daemon_of(session_dir) != pid:
            return
        signal.pidfd_send_signal(daemon, signal.SIGKILL if force else signal.SIGTERM)
        if not _gone(session_dir, PATIENCE):
            signal.pidfd_send_signal(daemon, signal.SIGKILL)
            _gone(session_dir, PATIENCE)
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


# ---- status --------------------------------------------------------------------------------------


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
    return 0


def _share(name: str, used: float, total: float) -> str:
    if name in ("memory", "object_store_memory"):
        return f"{used / (1 << 30):.2f}GiB/{total / (1 << 30):.2f}GiB {name}"
    return f"{used:g}/{total:g} {name}"
