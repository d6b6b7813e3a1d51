"""What a worker has started: how long it lives, and that it ends with its worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Journal, Ray, process_gone, wait_until

SLEEP = ["sleep", "1000"]
IN_BACKGROUND = ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; wait"]


class Starting:
    def pid(self) -> int:
        return os.getpid()

    def child(self) -> int:
        return subprocess.Popen(SLEEP).pid

    def child_of_a_child(self) -> int:
        shell = subprocess.Popen(IN_BACKGROUND, stdout=subprocess.PIPE, text=True)
        assert shell.stdout is not None
        return int(shell.stdout.readline())

    def child_in_a_session_of_its_own(self) -> int:
        return subprocess.Popen(SLEEP, start_new_session=True).pid

    def daemon(self) -> int:
        """Its parent has left it, in a session of its own."""
        command = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'"
        return int(subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True).stdout)

    def leave(self) -> None:
        import sys

        sys.exit(0)


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Processes that are killed when the test is over."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end(ray: Ray, actor: list[Any], how: str) -> None:
    """End the only actor of the list."""
    pid = ray.get(actor[0].pid.remote())
    if how == "kill":
        ray.kill(actor[0])
    elif how == "graceful":
        actor[0].__ray_terminate__.remote()
    elif how == "sys.exit":
        actor[0].leave.remote()
    elif how == "last handle":
        actor.clear()
    else:
        os.kill(pid, getattr(signal, how))
    wait_until(lambda: process_gone(pid))


IN_ORDER = ["kill", "graceful", "sys.exit", "last handle"]


@pytest.mark.parametrize("how", [*IN_ORDER, "SIGKILL", "SIGSEGV"])
def test_children_and_their_children_end_with_the_worker(
    ray: Ray, ended: list[int], how: str
) -> None:
    actor = [ray.remote(Starting).remote()]
    started = ray.get([actor[0].child.remote(), actor[0].child_of_a_child.remote()])
    ended += started
    assert not any(map(process_gone, started))
    end(ray, actor, how)
    wait_until(lambda: all(map(process_gone, started)))


@pytest.mark.parametrize("how", IN_ORDER)
def test_a_child_in_a_session_of_its_own_ends_with_a_worker_that_is_ended(
    ray: Ray, ended: list[int], how: str
) -> None:
    actor = [ray.remote(Starting).remote()]
    child = ray.get(actor[0].child_in_a_session_of_its_own.remote())
    ended.append(child)
    end(ray, actor, how)
    wait_until(lambda: process_gone(child))


@pytest.mark.parametrize("how", ["kill", "graceful", "SIGKILL"])
def test_a_daemon_that_a_worker_has_started_goes_on(ray: Ray, ended: list[int], how: str) -> None:
    actor = [ray.remote(Starting).remote()]
    daemon, child = ray.get([actor[0].daemon.remote(), actor[0].child.remote()])
    ended += [daemon, child]
    end(ray, actor, how)
    wait_until(lambda: process_gone(child))
    assert not process_gone(daemon)


def test_a_child_outlives_the_task_that_started_it(ray: Ray, ended: list[int]) -> None:
    @ray.remote
    def start() -> tuple[int, int]:
        return subprocess.Popen(SLEEP).pid, os.getpid()

    child, worker = ray.get(start.remote())
    ended.append(child)
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    assert not process_gone(child)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: process_gone(child))


def test_children_of_a_task_that_is_cancelled_by_force_end(
    ray: Ray, ended: list[int], journal: Journal, gate: Any
) -> None:
    started = gate("started")

    @ray.remote
    def start() -> None:
        journal.add(subprocess.Popen(SLEEP).pid)
        started.open()
        while True:
            signal.pause()

    ref = start.remote()
    started.wait()
    child = int(journal.lines()[0])
    ended.append(child)
    ray.cancel(ref, force=True)
    wait_until(lambda: process_gone(child))


@pytest.mark.ray_differs("they are killed there before exit handlers run")
def test_exit_handlers_find_their_children_alive(
    ray: Ray, ended: list[int], journal: Journal
) -> None:
    class Closing(Starting):
        def start(self) -> int:
            import atexit

            child = subprocess.Popen(SLEEP)

            def close() -> None:
                journal.add(child.poll())
                child.terminate()
                journal.add(child.wait())

            atexit.register(close)
            return child.pid

    actor = [ray.remote(Closing).remote()]
    ended.append(ray.get(actor[0].start.remote()))
    end(ray, actor, "graceful")
    assert journal.lines() == ["None", str(-signal.SIGTERM)]


def test_shutdown_ends_what_workers_have_started(
    start: Callable[..., Any], engine: Ray, ended: list[int]
) -> None:
    start()
    actor = engine.remote(Starting).remote()
    methods = [actor.child, actor.child_of_a_child, actor.child_in_a_session_of_its_own]
    started = engine.get([method.remote() for method in methods])
    started.append(engine.get(engine.remote(lambda: subprocess.Popen(SLEEP).pid).remote()))
    ended += started
    engine.shutdown()
    wait_until(lambda: all(map(process_gone, started)))


def test_children_end_when_the_driver_is_killed(
    script: Callable[..., Any], ended: list[int]
) -> None:
    body = """
    import subprocess, sys
    ray.init(**INIT)
    @ray.remote
    def start():
        return subprocess.Popen(["sleep", "1000"]).pid
    print(ray.get(start.remote()), flush=True)
    sys.stdin.read()
    """
    process = script(body)
    child = 0
    while not child:
        line = process.stdout.readline()
        assert line
        child = int(line) if line.strip().isdigit() else 0
    ended.append(child)
    process.kill()
    wait_until(lambda: process_gone(child))
