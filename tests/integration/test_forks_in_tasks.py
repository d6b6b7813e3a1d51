"""A process that a task forks has nothing to do with the session of its parent."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import whipray
from tests.integration.records import wait_until_whole


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=1, log_to_driver=False)
    yield
    whipray.shutdown()


def in_child(work: Any) -> str:
    """What a forked child answers."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, str(answer).encode()[:200])
        os._exit(0)
    os.waitpid(pid, 0)
    answer = os.read(reader, 200).decode()
    os.close(reader)
    os.close(writer)
    return answer


def test_references_that_a_child_drops_stay_with_the_parent(session: None) -> None:
    @whipray.remote
    def fork(refs: list[Any]) -> Any:
        mine = whipray.put(np.full(50_000, 5))

        def drop() -> str:
            nonlocal mine
            refs.clear()
            mine = None
            gc.collect()
            return "dropped"

        answer = in_child(drop)
        others = [whipray.put(np.full(50_000, 9)) for _ in range(4)]
        return answer, whipray.get([mine, refs[0], others[0]])

    answer, arrays = whipray.get(fork.remote([whipray.put(np.full(50_000, 7))]))
    assert answer == "dropped"
    assert [int(a.min()) for a in arrays] == [int(a.max()) for a in arrays] == [5, 7, 9]
    del arrays
    wait_until_whole()


def test_a_child_cannot_use_the_session(session: None) -> None:
    @whipray.remote
    def fork() -> Any:
        return in_child(lambda: whipray.put(1)), whipray.get(whipray.put(2))

    answer, value = whipray.get(fork.remote())
    assert answer.startswith("RuntimeError: This process was forked")
    assert value == 2


DROPS_AT_ONCE = """
import os

refs = []
os.register_at_fork(after_in_child=refs.clear)

import whipray
from whipray import _core

whipray.init(num_cpus=1)
refs += [whipray.put(n) for n in range(100)]
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
others = [whipray.put(-1) for _ in refs]
print(whipray.get(refs) == list(range(100)), _core.audit()["violations"])
"""


def test_what_a_child_drops_before_its_own_first_line_stays_with_the_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPS_AT_ONCE], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True 0\n", done.stderr


def test_a_child_may_resize_an_array_of_its_parent(session: None) -> None:
    @whipray.remote
    def fork() -> Any:
        array = np.full(100_000, 5)

        def resize() -> float:
            array.resize(200_000, refcheck=False)
            return float(array.sum())

        return in_child(resize), array.sum(), array.size

    assert whipray.get(fork.remote()) == ("500000.0", 500_000, 100_000)
