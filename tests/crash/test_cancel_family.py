"""A cancelled task takes along what it has submitted: of a try that died, up to the last moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray.exceptions import TaskCancelledError

from .helpers import living, wait_until, wait_until_whole, worker_pids


@whipray.remote(num_cpus=0)
def endless(started: str) -> None:
    Path(started).touch()
    while True:
        threading.Event().wait(0.1)


@whipray.remote(max_retries=-1, num_cpus=0, resources={"lamp": 3})
def parent(note: str, started: str) -> None:
    child = endless.remote(started)
    Path(note).write_text(f"{os.getpid()}\n")
    whipray.get(child)


@whipray.remote(num_cpus=0, resources={"lamp": 3})
def hold(end: str) -> None:
    while not Path(end).exists():
        time.sleep(0.01)


def cancel_and_release(task: Any, force: bool, holder: Any, end: Path) -> None:
    whipray.cancel(task, force=force)
    with pytest.raises(TaskCancelledError):
        whipray.get(task, timeout=60)
    end.touch()
    whipray.get(holder, timeout=60)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("force", [False, True])
def test_children_of_the_try_that_died_are_cancelled(force: bool, tmp_path: Path) -> None:
    before = living()
    note, started, end = (tmp_path / name for name in ("note", "started", "end"))
    task = parent.remote(str(note), str(started))
    wait_until(lambda: started.exists() and note.exists() and note.read_text().endswith("\n"))
    holder = hold.remote(str(end))  # what the task needs to run again is taken until then
    pid = int(note.read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in worker_pids())
    cancel_and_release(task, force, holder, end)
    del task, holder
    wait_until_whole(before)


@whipray.remote(max_retries=0, num_cpus=0)
def submit_on_and_on(started: str) -> None:
    for k in range(1_000_000):
        endless.options(resources={"lamp": 1}).remote(started)
        if k == 100:
            Path(started).touch()


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("force", [False, True])
def test_children_submitted_meanwhile_are_cancelled(force: bool, tmp_path: Path) -> None:
    before = living()
    started, end = tmp_path / "started", tmp_path / "end"
    holder = hold.remote(str(end))  # none of them runs
    wait_until(lambda: "lamp" not in whipray.available_resources())
    task = submit_on_and_on.remote(str(started))
    wait_until(started.exists)
    cancel_and_release(task, force, holder, end)
    del task, holder
    wait_until_whole(before)


@whipray.remote(num_cpus=0, max_retries=0)
def clean_up(started: str, cleaned: str) -> None:
    try:
        Path(started).touch()
        while True:
            time.sleep(0.01)
    finally:
        time.sleep(0.3)
        Path(cleaned).touch()


@whipray.remote(num_cpus=0, max_retries=0)
def wait_for_one(started: str, cleaned: str) -> None:
    whipray.get(clean_up.remote(started, cleaned))


@pytest.mark.usefixtures("session")
def test_each_of_the_family_is_interrupted_once(tmp_path: Path) -> None:
    before = living()
    for k in range(5):
        started, cleaned = tmp_path / f"started{k}", tmp_path / f"cleaned{k}"
        task = wait_for_one.remote(str(started), str(cleaned))
        wait_until(started.exists)
        whipray.cancel(task, recursive=True)
        with pytest.raises(TaskCancelledError):
            whipray.get(task, timeout=60)
        wait_until(cleaned.exists)
        del task
    wait_until_whole(before)


@whipray.remote(num_cpus=0, max_retries=0, max_calls=1)
def submit_when_cancelled(cancelled: str, started: str) -> Any:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it comes too late
    yield 0
    wait_until(Path(cancelled).exists)
    endless.remote(started)
    yield 1


@pytest.mark.usefixtures("session")
def test_children_of_what_ends_at_a_yield_are_cancelled(tmp_path: Path) -> None:
    before = living()
    cancelled, started = tmp_path / "cancelled", tmp_path / "started"
    generator = submit_when_cancelled.remote(str(cancelled), str(started))
    assert whipray.get(next(generator)) == 0
    whipray.cancel(generator)
    cancelled.touch()
    with pytest.raises(TaskCancelledError):
        for ref in generator:
            whipray.get(ref)
    del generator, ref
    wait_until_whole(before)
