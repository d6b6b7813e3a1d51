"""Every role of a process ends, or stops for a while, in every way: the session says so or goes on.

Killed daemons and drivers are in test_daemon_and_driver_death.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from whipray import _core
from whipray.exceptions import WorkerCrashedError

from .helpers import WORKER, living, wait_until, wait_until_whole, worker_pids
from .test_daemon_and_driver_death import alive, rest_of, start_driver, wait_until_gone

LONG = 60


@whipray.remote(max_retries=3)
def end_once(marker: str, way: str) -> int:
    """The first run ends its process in that way; the next one answers."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return 42
    if way == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, way))
    threading.Event().wait()
    return 0


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("way", ["exit", "SIGSEGV", "SIGKILL", "SIGABRT", "SIGTERM"])
def test_the_task_of_a_worker_that_ends_is_run_again(way: str, tmp_path: Path) -> None:
    before = living()
    assert whipray.get(end_once.remote(str(tmp_path / "ran"), way), timeout=LONG) == 42
    with pytest.raises(WorkerCrashedError):
        whipray.get(end_once.options(max_retries=0).remote(str(tmp_path / "once"), way))
    wait_until_whole(before)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@whipray.remote(num_cpus=0)
class Station:
    def pid(self) -> int:
        return os.getpid()

    def double(self, array: Any) -> Any:
        return array * 2


@pytest.mark.usefixtures("session")
def test_a_worker_that_is_stopped_is_not_dead() -> None:
    station = Station.remote()
    pid = whipray.get(station.pid.remote(), timeout=LONG)
    sweeps = _core.stats()["sweeps"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    waiting = station.double.remote(np.ones(50_000))
    assert whipray.wait([waiting], timeout=1.0) == ([], [waiting])
    assert _core.stats()["sweeps"] == sweeps and alive(pid)
    os.kill(pid, signal.SIGCONT)
    assert whipray.get(waiting, timeout=LONG).sum() == 100_000
    assert whipray.get(station.pid.remote(), timeout=LONG) == pid


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("role", ["daemon", "fork server"])
def test_what_serves_may_be_stopped_for_a_while(role: str) -> None:
    pid = _core.info()["daemon_pid"] if role == "daemon" else fork_server()
    sweeps = _core.stats()["sweeps"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    refs = [whipray.put(n) for n in range(10)]  # needs neither
    assert whipray.get(refs) == list(range(10))
    os.kill(pid, signal.SIGCONT)
    assert whipray.get(end_once.remote("/", "exit"), timeout=LONG) == 42  # "/" exists
    assert _core.stats()["sweeps"] == sweeps


JOIN = """
import signal, sys
import whipray
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored in the background
print("joining", flush=True)
try:
    whipray.init(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def has_socket(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        fds = Path(f"/proc/{pid}/fd").iterdir()
        return any(str(fd.readlink()).startswith("socket:") for fd in fds)
    return False


@pytest.mark.usefixtures("session")
def test_who_joins_a_stopped_daemon_can_be_interrupted() -> None:
    daemon = _core.info()["daemon_pid"]
    address = whipray.get_runtime_context().gcs_address
    os.kill(daemon, signal.SIGSTOP)
    wait_until(lambda: state_of(daemon) == "T")
    joining = subprocess.Popen(
        [sys.executable, "-c", JOIN, address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert joining.stdout is not None and joining.stdout.readline() == "joining\n"
        wait_until(lambda: has_socket(joining.pid))
        joining.send_signal(signal.SIGINT)
        assert joining.communicate(timeout=LONG)[0] == "interrupted\n"
    finally:
        joining.kill()
        joining.wait()
        os.kill(daemon, signal.SIGCONT)
    assert whipray.get(end_once.remote("/", "exit"), timeout=LONG) == 42  # "/" exists


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def fork_server() -> int:
    wait_until(worker_pids)
    return parent_of(worker_pids()[0])


@whipray.remote(max_retries=-1)
def wait_for(path: str) -> int:
    wait_until(Path(path).exists)
    return 42


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSEGV])
def test_a_fork_server_that_dies_is_started_again_and_no_task_is_lost(
    way: signal.Signals, tmp_path: Path
) -> None:
    kept = whipray.put(b"k" * 50_000)
    before = living()
    refs = [wait_for.remote(str(tmp_path / "go")) for _ in range(6)]
    wait_until(lambda: any(row["current"] for row in _core.procs()))
    server = fork_server()
    os.kill(server, way)
    wait_until(lambda: not alive(server))
    (tmp_path / "go").touch()
    assert whipray.get(refs, timeout=LONG) == [42] * 6
    assert fork_server() != server
    del refs
    assert whipray.get(kept) == b"k" * 50_000
    wait_until_whole(before)


def is_python(pid: int) -> bool:
    """It runs its own program: until then it is the daemon's twin, which waits for that."""
    try:
        return b"whiprayd" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def next_server(daemon: int, died: int) -> int:
    """The fork server after that one.  Orphaned workers are the daemon's children as well."""
    found: list[int] = []

    def look() -> list[int]:
        words = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
        others = {died} | {row["pid"] for row in _core.procs()}
        new = [pid for pid in map(int, words) if pid not in others]
        found[:] = [pid for pid in new if alive(pid) and is_python(pid)]
        return found

    wait_until(look)
    return found[0]


def send(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def starting_or_alive() -> int:
    return sum(row["role"] == WORKER and row["phase"] in (1, 2) for row in _core.procs())


@pytest.mark.usefixtures("session")
def test_fork_servers_that_die_while_many_workers_start_end_nothing() -> None:
    before = living()
    daemon, server = _core.info()["daemon_pid"], fork_server()
    os.kill(server, signal.SIGSTOP)
    lasting = Station.options(max_restarts=-1, max_task_retries=-1)
    stations = [lasting.remote() for _ in range(8)]
    for _ in range(4):
        wait_until(lambda: starting_or_alive() >= 4)
        send(server, signal.SIGKILL)
        server = next_server(daemon, server)
        send(server, signal.SIGSTOP)  # mostly before it has forked
    send(server, signal.SIGCONT)
    pids = whipray.get([station.pid.remote() for station in stations], timeout=5 * LONG)
    assert len(set(pids)) == 8
    del stations
    wait_until_whole(before)


@pytest.mark.parametrize("ending", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_a_driver_that_ends_badly_leaves_nothing(ending: str) -> None:
    driver, directory, pids = start_driver(ending, num_cpus=2, log_to_driver=False)
    driver.communicate()
    wait_until_gone(pids, directory)


@pytest.mark.parametrize("way", ["SIGSEGV", "SIGABRT"])
def test_a_daemon_that_crashes_is_named(way: str) -> None:
    ending = f"""
    os.kill(_core.info()["daemon_pid"], signal.{way})
    thread.join()
    print(type(load_error[0]).__name__)
    """
    driver, directory, pids = start_driver(ending, num_cpus=2, log_to_driver=False)
    out, err = rest_of(driver)
    assert out.split() == ["RaySystemError"], err
    wait_until_gone(pids, directory)


def test_a_driver_that_is_stopped_keeps_its_session() -> None:
    driver, directory, pids = start_driver("thread.join()", num_cpus=2, log_to_driver=False)
    driver.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(driver.pid) == "T")
    assert all(alive(pid) for pid in pids)
    driver.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(driver.pid) != "T")
    assert driver.poll() is None and all(alive(pid) for pid in pids)
    driver.kill()
    driver.communicate()
    wait_until_gone(pids, directory)
