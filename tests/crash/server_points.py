"""Failpoints of the fork server, which imports this module ahead: init(preload=[...]).

WHIPRAY_SERVER_POINT="<place>:<n>:<way>:<file>": at the n-th passing of the place the process does
what WAYS says, once: the first that gets there makes the file.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whipray._private import fork_server

WAYS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda: os._exit(41),
}
SENT = {
    fork_server.READY: "ready",
    fork_server.SPAWNED: "spawned",
    fork_server.REAPED: "reaped",
}
PLACES = [f"{name}.{when}" for name in SENT.values() for when in ("before", "after")]
PLACES += ["received", "fork"]


def arm(spec: str) -> None:
    place, n, way, marker = spec.split(":", 3)
    left = int(n)

    def at(name: str) -> None:
        nonlocal left
        left -= name == place
        if name == place and left == 0:
            try:
                Path(marker).touch(exist_ok=False)
            except FileExistsError:
                return
            WAYS[way]()

    receive, send, fork = fork_server._receive, fork_server._send, fork_server._fork

    def send_between(control: Any, kind: int, body: bytes) -> None:
        at(f"{SENT.get(kind)}.before")
        send(control, kind, body)
        at(f"{SENT.get(kind)}.after")

    def receive_first(control: Any) -> Any:
        message = receive(control)
        at("received")
        return message

    def fork_behind(control: Any, order: Any) -> bool:
        at("fork")
        return fork(control, order)

    fork_server._send = send_between  # type: ignore[assignment]
    fork_server._receive = receive_first
    fork_server._fork = fork_behind


if "WHIPRAY_SERVER_POINT" in os.environ:
    arm(os.environ["WHIPRAY_SERVER_POINT"])
