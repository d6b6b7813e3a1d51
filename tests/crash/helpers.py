"""Killing workers at random, and telling whether a session is whole afterwards."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import whipray
from whipray import _core

from .mixed_load import Waits

WORKER = 3  # enum wr_role
KILLS = int(os.environ.get("WHIPRAY_KILLS", "1000"))
PAUSE_SECONDS = float(os.environ.get("WHIPRAY_KILL_PAUSE", "0.02"))


def worker_pids() -> list[int]:
    """Live worker processes of the session (not the driver)."""
    return [row["pid"] for row in _core.procs() if row["role"] == WORKER and row["pid"]]


class Killer(threading.Thread):
    """Kills one worker after another until it has killed as many as asked.

    Between two answers that `waits` has seen it shoots a few times only: on a slow machine the load
    gets on too, and what waits for ever waits in peace.  Who holds `gun` is not disturbed."""

    SHOTS = 30

    def __init__(self, wanted: int, waits: Waits) -> None:
        super().__init__(daemon=True)
        self.left, self.random = wanted, random.Random(7)
        self.stop, self.gun = threading.Event(), threading.Lock()
        self.waits, self.shots, self.answers = waits, 0, 0

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()

    def run(self) -> None:
        while self.left and not self.stop.is_set():
            if self.waits.answers != self.answers:
                self.shots, self.answers = 0, self.waits.answers
            with self.gun:
                if self.shots < self.SHOTS:
                    self.shoot()
            self.stop.wait(self.random.uniform(0.0, PAUSE_SECONDS))

    def shoot(self) -> None:
        pids = worker_pids()
        if not pids:
            return
        try:
            os.kill(self.random.choice(pids), signal.SIGKILL)
            self.left -= 1
            self.shots += 1
        except ProcessLookupError:
            pass  # gone between the look and the shot


def wait_until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    """Poll a condition; fail with the engine's state when it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, (_core.audit(), _core.stats(), _core.procs())
        time.sleep(0.01)


def files_in(spilled: Path) -> list[Path]:
    """Files with values, in whichever session's directory."""
    return [path for path in spilled.rglob("*") if path.name.isdigit()]


def living() -> dict[str, Any]:
    """What lives in the session: the part of the audit that a load must leave as it was."""
    audit = _core.audit()
    return {key: audit[key] for key in ("violations", "objects", "value_bytes", "actors", "holds")}


def claimed() -> dict[str, float]:
    """What is not free, but for the memory that values take."""
    free = whipray.available_resources()
    used = {name: n - free.get(name, 0) for name, n in whipray.cluster_resources().items()}
    return {name: n for name, n in used.items() if n and name != "object_store_memory"}


def wait_until_whole(before: dict[str, Any]) -> None:
    """The records agree with each other, nothing lives that did not live before the load, every
    resource is free and no task is left."""
    gc.collect()

    def whole() -> bool:
        audit = _core.audit()
        unfinished = sum(audit["tasks"][1:5]) + sum(audit["tasks"][6:])
        return living() == before and not unfinished and claimed() == {}

    assert before["violations"] == 0, _core.audit()["text"]
    wait_until(whole)
