# mypy: disable-error-code="untyped-decorator, attr-defined"
"""What a death costs those who go on: how soon it is seen, cleaned up after, and made good."""

from __future__ import annotations

import importlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rows.micro import noop_task
from benchmarks.rows.registry import Figure, Missing, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Failures")

OBJECTS = 10_000


def kill(pid: int) -> float:
    """SIGKILL; when it was sent, on the clock that all processes share."""
    sent = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return sent


@SECTION.row(
    "death-seen",
    "a death is seen",
    "from SIGKILL of an actor until get of a call that it ran raises ActorDiedError",
    Figure("p50", "ms", "lower"),
    timeout=300,
)
def death_seen(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote(num_cpus=0)
    class Hangs:
        def pid(self) -> int:
            return os.getpid()

        def hang(self) -> None:
            time.sleep(3600)

    def once() -> float:
        actor = Hangs.remote()
        pid = ray.get(actor.pid.remote())
        call = actor.hang.remote()
        ray.wait([call], timeout=0.05)
        sent = kill(pid)
        try:
            ray.get(call)
        except ray.exceptions.RayActorError:
            return (time.monotonic() - sent) * 1e3
        raise AssertionError("the call of a dead actor has returned")

    return {"p50": [once() for _ in range(bench.repeats(21, 3))]}


@SECTION.row(
    "objects-reclaimed",
    f"{OBJECTS} objects reclaimed",
    f"from SIGKILL of an actor that holds {OBJECTS} refs of put(100 bytes) until none is left",
    Figure("p50", "ms", "lower"),
    session="fresh",
    timeout=300,
)
def objects_reclaimed(bench: Bench) -> Values:
    ray = bench.ray
    if bench.side != "whipray":
        raise Missing("a driver cannot see when objects of another process have gone")
    core = importlib.import_module("whipray._core")

    @ray.remote(num_cpus=0)
    class Hoarder:
        def hoard(self, count: int) -> int:
            self.refs = [ray.put(b"x" * 100) for _ in range(count)]
            return os.getpid()

    def once() -> float:
        hoarder = Hoarder.remote()
        pid = ray.get(hoarder.hoard.remote(OBJECTS))
        before, sweeps = core.audit()["objects"], core.stats()["sweeps"]
        sent = kill(pid)
        while core.stats()["sweeps"] == sweeps:
            time.sleep(0.0002)
        taken = (time.monotonic() - sent) * 1e3
        left = core.audit()["objects"]
        if before < OBJECTS or left > before - OBJECTS:
            raise AssertionError(f"{before} objects before, {left} after")
        return taken

    return {"p50": [once() for _ in range(bench.repeats(15, 3))]}


@SECTION.row(
    "task-retried",
    "a dead worker's task runs again",
    "from SIGKILL of a worker until the next attempt of the task that it ran begins",
    Figure("p50", "ms", "lower"),
    timeout=300,
)
def task_retried(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote(max_retries=1)
    def attempt(path: str) -> float:
        began = time.monotonic()
        if os.path.exists(path):
            return began
        with open(path + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(path + ".new", path)
        time.sleep(3600)
        return 0.0

    def once(home: str, n: int) -> float:
        path = Path(home) / str(n)
        task = attempt.remote(str(path))
        while not path.exists():
            time.sleep(0.001)
        sent = kill(int(path.read_text()))
        return float((ray.get(task) - sent) * 1e3)

    noop: Any = noop_task(ray)
    ray.get([noop.remote() for _ in range(100)])
    with tempfile.TemporaryDirectory(prefix="wrb-") as home:
        return {"p50": [once(home, n) for n in range(bench.repeats(21, 3))]}
