"""Every failpoint, in a worker, a driver and the daemon, and those of the fork server (see
server_points.py): the process exits, crashes, is killed, or stops and is continued.

A sample of the places; WHIPRAY_FAILPOINTS=all (make failpoints) tries each place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import whipray
from whipray import _core

from . import server_points
from .helpers import living, wait_until, wait_until_whole, worker_pids
from .test_daemon_and_driver_death import users_of
from .test_failpoints import HOSTILE, PLACES, crashed_at
from .test_ways_to_end import end_once, fork_server, state_of

ALL = os.environ.get("WHIPRAY_FAILPOINTS") == "all"
WAYS = ("exit", "segv", "kill", "stop")
DIED = {"exit": 41, "segv": -signal.SIGSEGV, "kill": -signal.SIGKILL}
STOPPED_SECONDS = 0.2
ROOT = Path(__file__).resolve().parents[2]
hostile = pytest.mark.skipif(not HOSTILE, reason="this build has no failpoints")


def some(places: list[str], step: int) -> list[str]:
    return places if ALL else places[step // 2 :: step]


class Continuer:
    """Continues who stops, a moment later; how often it had to."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self.pids, self.times, self.over = pids, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            stopped = []
            for pid in self.pids():
                with suppress(OSError):
                    if state_of(pid) == "T":
                        stopped.append(pid)
            if stopped:
                self.over.wait(STOPPED_SECONDS)
            for pid in stopped:
                self.times += 1
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def continuing(pids: Callable[[], list[int]]) -> Iterator[Continuer]:
    continuer = Continuer(pids)
    thread = threading.Thread(target=continuer.run, daemon=True)
    thread.start()
    try:
        yield continuer
    finally:
        continuer.over.set()
        thread.join()


# ---- workers ---------------------------------------------------------------------------------


@hostile
@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("way", WAYS)
def test_workers_at_every_place(way: str) -> None:
    kept = whipray.put(np.ones(200_000))
    before = living()
    with continuing(worker_pids):
        for place in some(PLACES, 12):
            crashed = crashed_at(f"{place}@7={way}", kept, tasks=3, timeout=120)
            assert not crashed or way != "stop"
        wait_until_whole(before)


# ---- drivers and daemons ---------------------------------------------------------------------


def live(role: str, spec: str, *address: str) -> tuple[str, int, str]:
    """A life of one_life.py: its session's directory, its exit code, and its last words."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.one_life", role, spec, *address],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # communicate() does not know of what a buffer has read ahead
    )
    assert process.stdout is not None
    first = process.stdout.readline().decode().split()
    assert len(first) == 2, process.communicate()[1]
    with continuing(lambda: [int(first[1])]):
        output, errors = process.communicate()
    words = output.decode().strip()
    assert words or role == "driver", errors
    assert words in ("", "done", "ended"), errors
    return first[0], process.returncode, words


@hostile
@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", some(PLACES, 40))
def test_a_driver_at_every_place(place: str, way: str) -> None:
    kept = whipray.put(b"k" * 50_000)
    before = living()
    address = whipray.get_runtime_context().gcs_address
    _, code, words = live("driver", f"{place}@3={way}", address)
    assert (code, words) in ((0, "done"), (DIED.get(way), ""))
    wait_until_whole(before)
    assert whipray.get(kept) == b"k" * 50_000


@hostile
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", some(PLACES, 60))
def test_a_daemon_at_every_place(place: str, way: str) -> None:
    directory, code, words = live("daemon", f"{place}@2={way}")
    assert code == 0 and (words == "done" or way != "stop")
    wait_until(lambda: not users_of(directory))


# ---- the fork server -------------------------------------------------------------------------


@whipray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Station:
    def double(self, n: int) -> int:
        return 2 * n


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", some(server_points.PLACES, 3))
def test_a_fork_server_at_every_place(
    place: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 1 if place.startswith("ready") else 2
    spec = f"{place}:{n}:{way}:{tmp_path / 'reached'}"
    monkeypatch.setenv("WHIPRAY_SERVER_POINT", spec)
    whipray.init(num_cpus=2, log_to_driver=False, preload=["tests.crash.server_points"])
    try:
        before = living()
        with continuing(lambda: children_of(_core.info()["daemon_pid"])):
            stations = [Station.remote() for _ in range(3)]
            doubled = [station.double.remote(k) for k, station in enumerate(stations)]
            ended = [end_once.remote(str(tmp_path / str(k)), "exit") for k in range(3)]
            assert whipray.get(doubled, timeout=240) == [0, 2, 4]
            assert whipray.get(ended, timeout=240) == [42] * 3
            del stations, doubled, ended
            wait_until_whole(before)
            assert fork_server()
        assert (tmp_path / "reached").exists()
    finally:
        whipray.shutdown()


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
