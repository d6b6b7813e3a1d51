"""The daemon or a driver is killed in mid-load: what depended on it ends, or says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray import _core

from .helpers import living, wait_until, wait_until_whole

# A driver under a mixed load: tasks that end, one that does not, an actor that is called all the
# time.  It prints the session's directory and the ids of its workers, and goes on.
LOAD = """
import os, signal, sys, threading, time
import numpy as np
import whipray
from whipray import _core

whipray.init(**INIT)

@whipray.remote(max_retries=-1)
def double(array):
    return array * 2

@whipray.remote(num_cpus=0)
def endless():
    while True:
        time.sleep(1)

@whipray.remote(num_cpus=0, max_restarts=-1)
class Counter:
    def __init__(self):
        self.n = 0
    def add(self, value):
        self.n += 1
        return os.getpid(), value

counter = Counter.remote()
stuck = endless.remote()
load_error = []

def load():
    try:
        while True:
            values = [double.remote(np.arange(20_000)) for _ in range(4)]
            calls = [counter.add.remote(whipray.put(b"x" * 20_000)) for _ in range(4)]
            whipray.get(values + calls)
    except Exception as error:
        load_error.append(error)

thread = threading.Thread(target=load, daemon=True)
thread.start()
while sum(bool(row["current"]) for row in _core.procs()) < 2:
    time.sleep(0.001)
whipray.get(counter.add.remote(0))
job = _core.info()["job"]
pids = [row["pid"] for row in _core.procs()
        if row["role"] == 3 and row["job"] == job and row["pid"]]
print("session", _core.info()["session_dir"], *pids, flush=True)
"""


def start_driver(
    ending: str, env: dict[str, str] | None = None, **init: Any
) -> tuple[subprocess.Popen[str], str, list[int]]:
    """Runs LOAD and then `ending`; the process, its session's directory, its workers."""
    code = LOAD.replace("INIT", repr(init)) + textwrap.dedent(ending)
    driver = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )
    assert driver.stdout is not None
    line = driver.stdout.readline()
    assert line.startswith("session "), driver.communicate()[1]
    directory, *pids = line.split()[1:]
    return driver, directory, [int(pid) for pid in pids]


def rest_of(driver: subprocess.Popen[str]) -> tuple[str, str]:
    """What it says after its first line: communicate() does not know of what readline() has read
    too much."""
    assert driver.stdout is not None and driver.stderr is not None
    with driver:
        return driver.stdout.read(), driver.stderr.read()


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def users_of(directory: str) -> list[int]:
    """Processes that know the session: its directory stands in their command line or is open."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            names = [os.readlink(fd) for fd in (entry / "fd").iterdir()]
            names.append((entry / "cmdline").read_text())
        except OSError:
            continue
        if any(directory in name for name in names) and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


KILL_DAEMON = """
    import itertools
    os.kill(_core.info()["daemon_pid"], signal.SIGKILL)
    thread.join()
    print(type(load_error[0]).__name__)
    for action in (
        lambda: whipray.get(stuck),
        lambda: whipray.wait([stuck], timeout=None),
        lambda: Counter.remote(),
        lambda: whipray.kill(counter),
        lambda: whipray.cancel(stuck),
        lambda: whipray.cluster_resources(),
        lambda: [whipray.put(n) for n in itertools.count()],
        lambda: [double.remote(n) for n in itertools.count()],
        lambda: [counter.add.remote(n) for n in itertools.count()],
    ):
        try:
            action()
            print("nothing")
        except Exception as error:
            print(type(error).__name__, "ended" in str(error))
    whipray.shutdown()
    whipray.init(num_cpus=1)
    print(whipray.get(double.remote(21)))
"""


def test_a_killed_daemon_is_named_and_takes_its_workers_along() -> None:
    driver, directory, pids = start_driver(KILL_DAEMON, num_cpus=2, log_to_driver=False)
    assert len(pids) >= 2
    out, err = rest_of(driver)
    assert out.split("\n")[:-1] == ["RaySystemError", *["RaySystemError True"] * 9, "42"], err
    assert driver.returncode == 0
    wait_until_gone(pids, directory)


# The view of the first array leaves no room for the second one.
KILL_DAEMON_OF_A_FULL_STORE = """
    view = whipray.get(whipray.put(np.zeros(20 << 20, np.uint8)))
    killer = threading.Timer(0.5, os.kill, [_core.info()["daemon_pid"], signal.SIGKILL])
    killer.start()
    try:
        whipray.put(np.ones(20 << 20, np.uint8))
    except Exception as error:
        print(type(error).__name__)
"""


def test_who_waits_for_room_hears_of_the_daemons_death() -> None:
    driver, directory, pids = start_driver(
        KILL_DAEMON_OF_A_FULL_STORE, num_cpus=2, object_store_memory=32 << 20, log_to_driver=False
    )
    out, err = rest_of(driver)
    assert out.split() == ["RaySystemError"], err
    wait_until_gone(pids, directory)


def wait_until_gone(pids: list[int], directory: str) -> None:
    """The watchdog of the test is the only limit."""
    while any(alive(pid) for pid in pids) or users_of(directory):
        os.sched_yield()


def test_a_killed_driver_leaves_nothing_of_its_session() -> None:
    driver, directory, pids = start_driver("thread.join()", num_cpus=2, log_to_driver=False)
    assert len(pids) >= 2 and users_of(directory)
    driver.kill()
    driver.communicate()
    wait_until_gone(pids, directory)
    while Path(directory).exists():
        os.sched_yield()


@pytest.fixture
def owner() -> Iterator[str]:
    """A session of this process that others may join; its address."""
    context = whipray.init(num_cpus=2, log_to_driver=False)
    yield context.address_info["address"]
    whipray.shutdown()


def test_a_killed_driver_leaves_the_session_it_had_joined_whole(owner: str) -> None:
    kept = whipray.put(b"k" * 50_000)
    before = living()
    driver, _, pids = start_driver("thread.join()", address=owner, log_to_driver=False)
    assert len(pids) >= 2
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    wait_until_whole(before)
    assert whipray.get(kept) == b"k" * 50_000
    assert sum(row["role"] == 2 for row in _core.procs()) == 1


@whipray.remote(num_cpus=0)
class Idle:
    def pid(self) -> int:
        return os.getpid()


@whipray.remote(num_cpus=0, max_retries=0)
def create_and_wait(box: list[Any]) -> None:
    idle = Idle.remote()
    whipray.get(box[0].keep.remote(idle, whipray.get(idle.pid.remote()), os.getpid()))
    whipray.get(box[0].never.remote())


@whipray.remote(num_cpus=0, max_concurrency=4)
class Box:
    def __init__(self) -> None:
        import threading

        self.full = threading.Event()

    def keep(self, *values: Any) -> None:
        self.values = values
        self.full.set()

    def wait(self) -> tuple[Any, ...]:
        self.full.wait()
        return self.values

    def never(self) -> None:
        import threading

        threading.Event().wait()


def test_an_actor_ends_with_the_worker_that_created_it(owner: str) -> None:
    box = Box.remote()
    task = create_and_wait.remote([box])
    idle, actor_pid, worker_pid = whipray.get(box.wait.remote())
    assert whipray.get(idle.pid.remote()) == actor_pid
    os.kill(worker_pid, signal.SIGKILL)
    with pytest.raises(whipray.exceptions.WorkerCrashedError):
        whipray.get(task)
    wait_until(lambda: not alive(actor_pid))
    with pytest.raises(whipray.exceptions.ActorDiedError, match="created it has ended"):
        whipray.get(idle.pid.remote())
