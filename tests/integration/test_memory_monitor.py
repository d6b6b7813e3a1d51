"""Memory runs short: tasks that can be run again end first, and the errors of others say why."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from tests.compat.helpers import Gate, process_gone, wait_until
from whipray.exceptions import OutOfMemoryError, RayActorError

MIB = 1 << 20
LIMIT = 1000 * MIB


class Group:
    """A directory that looks like a memory cgroup; the monitor looks at it instead of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "memory.max").write_text(f"{LIMIT}\n")
        (path / "memory.stat").write_text(f"anon 0\ninactive_file {50 * MIB}\n")
        self.use(100)

    def use(self, mib: int) -> None:
        new = self.path / "memory.next"
        new.write_text(f"{mib * MIB}\n")
        new.rename(self.path / "memory.current")


Start = Callable[..., Group]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    def begin(refresh_ms: int = 3000, **env: str) -> Group:
        group = Group(tmp_path)
        monkeypatch.setenv("WHIPRAY_MEMORY_CGROUP", str(tmp_path))
        monkeypatch.setenv("RAY_memory_monitor_refresh_ms", str(refresh_ms))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        whipray.init(num_cpus=3, log_to_driver=False)
        return group

    yield begin
    whipray.shutdown()
    gc.collect()


@whipray.remote
def wait(journal: str, gate: str) -> int:
    """Writes its process number as a line of the journal and waits for the gate."""
    with open(journal, "a") as file:
        file.write(f"{os.getpid()}\n")
    Gate(gate).wait()
    return os.getpid()


def pids(journal: Path) -> list[int]:
    return [int(line) for line in journal.read_text().split()] if journal.exists() else []


def started(journal: Path, n: int = 1) -> int:
    """The process of the n-th run, once it runs."""
    return wait_until(lambda: len(pids(journal)) >= n and pids(journal)[n - 1])


def kill_one(group: Group, pid: int) -> None:
    """Memory is short until that process is gone."""
    group.use(1030)
    wait_until(lambda: process_gone(pid))
    group.use(100)


def test_the_newest_that_can_be_retried_goes_first(start: Start, tmp_path: Path) -> None:
    group = start()
    files = [tmp_path / name for name in ("final", "old", "new")]
    gate = tmp_path / "gate"
    refs = []
    for file in files:
        retries = 0 if file.name == "final" else 2
        refs.append(wait.options(max_retries=retries).remote(str(file), str(gate)))
        started(file)
        time.sleep(3.5)  # the monitor looks at least so often, and tells old from new by that
    victim = started(files[2])
    kill_one(group, victim)
    again = started(files[2], 2)
    assert again != victim
    Gate(gate).open()
    assert whipray.get(refs) == [started(files[0]), started(files[1]), again]
    assert [len(pids(file)) for file in files] == [1, 1, 2]


def test_one_that_can_not_be_retried_gets_the_reason(start: Start, tmp_path: Path) -> None:
    group = start()
    file = tmp_path / "file"
    ref = wait.options(max_retries=0, name="eater").remote(str(file), str(tmp_path / "gate"))
    pid = started(file)
    kill_one(group, pid)
    with pytest.raises(OutOfMemoryError) as caught:
        whipray.get(ref)
    text = str(caught.value)
    assert "node running low on memory" in text
    assert "980 MiB of 1000 MiB" in text  # without what the kernel can drop
    assert f"process {pid}" in text and f"pid {pid}" in text
    assert "object store has" in text


def test_its_own_count_of_retries(start: Start, tmp_path: Path) -> None:
    group = start(RAY_task_oom_retries="1")
    file = tmp_path / "file"
    ref = wait.options(max_retries=1).remote(str(file), str(tmp_path / "gate"))
    kill_one(group, started(file, 1))
    os.kill(started(file, 2), 9)  # for this there is max_retries, which is as it was
    kill_one(group, started(file, 3))
    with pytest.raises(OutOfMemoryError):
        whipray.get(ref)
    assert len(pids(file)) == 3


def test_actors_restart(start: Start, tmp_path: Path) -> None:
    group = start()

    @whipray.remote(max_restarts=1)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    actor = Actor.remote()
    first = whipray.get(actor.pid.remote())
    kill_one(group, first)
    second: Any = None

    def restarted() -> bool:
        nonlocal second
        try:
            second = whipray.get(actor.pid.remote())
        except RayActorError:
            return False
        return True

    wait_until(restarted)
    assert second != first
    kill_one(group, second)
    with pytest.raises(RayActorError, match="ran low on memory"):
        wait_until(lambda: whipray.get(actor.pid.remote()) == 0)


def test_switched_off(start: Start, tmp_path: Path) -> None:
    group = start(refresh_ms=0)
    group.use(1030)
    file, gate = tmp_path / "file", tmp_path / "gate"
    ref = wait.remote(str(file), str(gate))
    started(file)
    time.sleep(1)
    Gate(gate).open()
    assert whipray.get(ref) == pids(file)[0]


EATER = """
import os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
import numpy as np, whipray as ray
ray.init(num_cpus=1, object_store_memory=64 << 20, log_to_driver=False)

@ray.remote(max_retries=0)
def eat():
    eaten = []
    for _ in range(100):
        eaten.append(np.ones(16 << 17))
        time.sleep(0.05)

try:
    ray.get(eat.remote())
except ray.exceptions.OutOfMemoryError as error:
    print(error)
print(ray.get(ray.remote(lambda: "goes on").remote()))
ray.shutdown()
"""


def made_group() -> Path | None:
    """A memory cgroup of 800 MiB, if this user may make one."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        path = Path(root) / f"whipray-test-{os.getpid()}"
        try:
            path.mkdir()
            (path / limit).write_text(str(800 * MIB))
        except OSError:
            if path.is_dir():
                path.rmdir()
        else:
            return path
    return None


@pytest.fixture
def cgroup() -> Iterator[Path]:
    path = made_group()
    if path is None:
        pytest.skip("this user may not make memory cgroups")
    yield path
    wait_until(lambda: not (path / "cgroup.procs").read_text())
    path.rmdir()


def test_in_a_cgroup_that_is_too_small(cgroup: Path) -> None:
    env = {**os.environ, "RAY_memory_usage_threshold": "0.8"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EATER), str(cgroup)],
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of 800 MiB are in use" in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1] == "goes on"
