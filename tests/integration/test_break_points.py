"""Break points in workers: pdb at the other end of a unix socket, by `whipray debug attach`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import whipray
from tests.compat.helpers import wait_until
from whipray.util import rpdb


@pytest.fixture
def session() -> Iterator[str]:
    context = whipray.init(num_cpus=2, log_to_driver=False)
    yield context["session_dir"]
    whipray.shutdown()


def attach(session: str, said: str, *arguments: str, code: int = 0) -> str:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    where = ("--address", f"{session}/sock")
    done = subprocess.run(
        [sys.executable, "-m", "whipray", "debug", "attach", *where, *arguments],
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def by_set_trace() -> int:
    value = 5
    rpdb.set_trace()
    return value


def by_breakpoint() -> int:
    value = 5
    breakpoint()
    return value


@pytest.mark.parametrize("function", [by_set_trace, by_breakpoint])
def test_a_task_stops_until_it_is_told_to_go_on(session: str, function: Callable[[], int]) -> None:
    ref = whipray.remote(function).remote()
    wait_until(lambda: rpdb.waiting(session))
    assert not whipray.wait([ref], timeout=0)[0]
    said = attach(session, "p value * 100\nvalue = 8\nc\n")
    assert "500" in said and function.__name__ in said
    assert whipray.get(ref) == 8
    assert rpdb.waiting(session) == []


def test_a_debugger_that_leaves_lets_the_task_go_on(session: str) -> None:
    ref = whipray.remote(by_set_trace).remote()
    wait_until(lambda: rpdb.waiting(session))
    attach(session, "p value\n")
    assert whipray.get(ref) == 5


def test_quitting_ends_the_task(session: str) -> None:
    ref = whipray.remote(by_set_trace).remote()
    wait_until(lambda: rpdb.waiting(session))
    attach(session, "q\n")
    with pytest.raises(whipray.exceptions.RayTaskError, match="BdbQuit"):
        whipray.get(ref)


def test_a_waiting_break_point_can_be_cancelled(session: str) -> None:
    ref = whipray.remote(by_set_trace).remote()
    wait_until(lambda: rpdb.waiting(session))
    whipray.cancel(ref)
    with pytest.raises(whipray.exceptions.TaskCancelledError):
        whipray.get(ref)
    wait_until(lambda: not rpdb.waiting(session))


def test_actors_have_them_and_several_are_told_apart(session: str) -> None:
    @whipray.remote(num_cpus=0)
    class Stops:
        def stop(self, value: int) -> Any:
            rpdb.set_trace()
            return value

    actors = [Stops.remote() for _ in range(2)]
    refs = [actor.stop.remote(at) for at, actor in enumerate(actors)]
    names = wait_until(lambda: len(rpdb.waiting(session)) == 2 and rpdb.waiting(session))
    said = attach(session, "", code=1)
    assert all(name in said for name in names)
    for name in names:
        attach(session, "value += 10\nc\n", name)
    assert whipray.get(refs) == [10, 11]
    assert "none" in attach(session, "", code=1)
