"""SIGTERM to a worker: what runs is left by SystemExit, exit handlers run, the process has died."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import time
from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until


class Busy:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        atexit.register(journal.add, "handler")

    def pid(self) -> int:
        return os.getpid()

    def work(self) -> str:
        try:
            self.journal.add("begun")
            time.sleep(2)
        finally:
            self.journal.add("finally")
        return "done"


@pytest.fixture
def terminated(ray: Ray, journal: Journal) -> Any:
    @ray.remote
    def terminated() -> int:
        if journal.add("attempt") > 1:
            return len(journal.lines())
        atexit.register(journal.add, "handler")
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            journal.add("finally")
        return 0

    return terminated


def test_a_task_is_left_and_has_crashed(ray: Ray, journal: Journal, terminated: Any) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(terminated.options(max_retries=0).remote())
    wait_until(lambda: journal.lines() == ["attempt", "finally", "handler"])


def test_a_task_is_run_again(ray: Ray, journal: Journal, terminated: Any) -> None:
    ray.get(terminated.options(max_retries=1).remote())
    assert journal.lines().count("attempt") == 2
    assert "finally" in journal.lines()


def test_a_call_of_an_actor_is_left_and_the_actor_dies(ray: Ray, journal: Journal) -> None:
    actor = ray.remote(Busy).remote(journal)
    pid, call = ray.get(actor.pid.remote()), actor.work.remote()
    wait_until(lambda: journal.lines() == ["begun"])
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(call)
    wait_until(lambda: journal.lines() == ["begun", "finally", "handler"])


@pytest.mark.parametrize("kind", [{}, {"max_concurrency": 2}], ids=["sync", "threads"])
def test_an_idle_actor_leaves_in_order_and_restarts(ray: Ray, journal: Journal, kind: Any) -> None:
    actor = ray.remote(Busy).options(max_restarts=1, max_task_retries=-1, **kind).remote(journal)
    pid = ray.get(actor.pid.remote())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: journal.lines() == ["handler"])
    wait_until(lambda: ray.get(actor.pid.remote()) != pid)


@pytest.mark.ray_differs("it exits with 1 there, as the worker does")
def test_a_child_that_a_task_has_forked_ends_at_once(ray: Ray, journal: Journal) -> None:
    def run() -> None:
        journal.add("begun")
        time.sleep(60)

    @ray.remote
    def fork() -> int | None:
        child = multiprocessing.get_context("fork").Process(target=run)
        child.start()
        wait_until(lambda: bool(journal.lines()))
        child.terminate()
        child.join()
        return child.exitcode

    assert ray.get(fork.remote()) == -signal.SIGTERM
