"""A process that a task forks has nothing to do with the session of its parent."""

from __future__ import annotations

import gc
import os
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
