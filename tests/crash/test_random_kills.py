"""Workers are killed at random times under load; nothing is lost and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from whipray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    TaskCancelledError,
    WorkerCrashedError,
)

from .helpers import KILLS, Killer, living, wait_until, wait_until_whole, worker_pids


@pytest.mark.usefixtures("session")
def test_tasks_and_objects_survive_killed_workers() -> None:
    @whipray.remote(max_retries=-1)
    def add(x: Any, y: int) -> Any:
        return x + y

    @whipray.remote(max_retries=-1)
    def large(seed: int) -> Any:
        return np.full(50_000, seed)

    @whipray.remote(max_retries=-1)
    def nested(n: int) -> int:
        return sum(whipray.get([add.remote(i, 1) for i in range(n)]))

    kept = whipray.put(np.arange(100_000))
    before = living()
    killer = Killer(KILLS - KILLS // 2)
    killer.start()
    rounds = 0
    while killer.is_alive():
        sums = [add.remote(kept, i) for i in range(3)]
        arrays = [large.remote(i) for i in range(3)]
        trees = [nested.remote(5) for _ in range(3)]
        for i, ref in enumerate(sums):
            assert int(whipray.get(ref, timeout=HANG_SECONDS)[-1]) == 99_999 + i
        for i, ref in enumerate(arrays):
            assert whipray.get(ref, timeout=HANG_SECONDS).sum() == 50_000 * i
        assert whipray.get(trees, timeout=HANG_SECONDS) == [15, 15, 15]
        rounds += 1
    assert killer.left == 0
    assert rounds > 0
    del sums, arrays, trees, ref
    assert whipray.get(kept).sum() == np.arange(100_000).sum()
    wait_until_whole(before)
    assert before["value_bytes"] >= 800_000


@whipray.remote(max_restarts=-1, max_task_retries=-1)
class Keeper:
    """Survives; every answer depends on its arguments alone."""

    def double(self, x: Any) -> Any:
        return x * 2

    def both(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, y


@whipray.remote
class Mortal:
    def answer(self) -> int:
        return 42


@whipray.remote(max_retries=-1)
def make(n: int) -> Any:
    """A reference to an object that its maker put."""
    return [whipray.put(np.full(20_000, n))]


@whipray.remote(max_retries=-1, num_cpus=0.5, resources={"lamp": 1})
def lit(n: int) -> Any:
    return np.full(3_000, n)


@whipray.remote(max_retries=-1, num_returns=3)
def split(array: Any) -> Any:
    return array[:10], array[10:], [whipray.put(b"inside" * 100)]


@whipray.remote(max_retries=-1)
def tree(depth: int) -> int:
    if depth == 0:
        return 1
    return sum(whipray.get([tree.remote(depth - 1) for _ in range(2)]))


@whipray.remote(max_retries=-1)
def endless(refs: Any) -> None:
    while True:
        whipray.get(refs)


HANG_SECONDS = 60  # nothing here takes a second; more than this is a hang


def play_round(keeper: Any, n: int) -> None:
    waits = endless.remote([whipray.put(b"x" * 5_000)])
    mortal = Mortal.remote()
    answer = mortal.answer.remote()
    doubled = [keeper.double.remote(i) for i in range(5)]
    pair = keeper.both.options(num_returns=2).remote(lit.remote(n), "y")
    head, tail, inside = split.remote(lit.remote(n))
    made = make.remote(n)
    grown = tree.remote(2)
    whipray.cancel(waits)
    assert whipray.get(doubled, timeout=HANG_SECONDS) == [0, 2, 4, 6, 8]
    first, second = whipray.get(pair, timeout=HANG_SECONDS)
    assert first.sum() == 3_000 * n and second == "y"
    assert (
        whipray.get(whipray.get(made, timeout=HANG_SECONDS)[0], timeout=HANG_SECONDS).sum()
        == 20_000 * n
    )
    assert (
        whipray.get(head, timeout=HANG_SECONDS).sum()
        + whipray.get(tail, timeout=HANG_SECONDS).sum()
        == 3_000 * n
    )
    assert (
        whipray.get(whipray.get(inside, timeout=HANG_SECONDS)[0], timeout=HANG_SECONDS)
        == b"inside" * 100
    )
    assert whipray.get(grown, timeout=HANG_SECONDS) == 4
    with pytest.raises((TaskCancelledError, WorkerCrashedError)):
        whipray.get(waits, timeout=HANG_SECONDS)
    try:
        assert whipray.get(answer, timeout=HANG_SECONDS) == 42
    except (ActorDiedError, ActorUnavailableError):
        pass  # it was shot


@pytest.mark.usefixtures("session")
def test_a_mixed_load_survives_killed_workers() -> None:
    kept = whipray.put({"name": b"kept" * 10_000})
    before = living()
    keeper = Keeper.remote()
    killer = Killer(KILLS // 2)
    killer.start()
    rounds = 0
    while killer.is_alive():
        play_round(keeper, rounds)
        rounds += 1
    assert killer.left == 0
    assert rounds > 0
    assert whipray.get(keeper.double.remote(4), timeout=HANG_SECONDS) == 8
    del keeper
    assert whipray.get(kept)["name"] == b"kept" * 10_000
    wait_until_whole(before)


@pytest.mark.usefixtures("session")
def test_a_killed_actor_restarts_and_answers() -> None:
    @whipray.remote(max_restarts=-1, max_task_retries=-1)
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def pid(self) -> int:
            return os.getpid()

        def add(self) -> int:
            self.n += 1
            return self.n

    counter = Counter.remote()
    for _ in range(10):
        pid = whipray.get(counter.pid.remote(), timeout=120)
        os.kill(pid, signal.SIGKILL)
        assert whipray.get(counter.pid.remote(), timeout=120) != pid
        assert whipray.get(counter.add.remote(), timeout=120) == 1


@pytest.mark.usefixtures("session")
def test_workers_shot_as_soon_as_they_appear_do_not_end_the_session() -> None:
    @whipray.remote(max_retries=-1)
    def answer() -> int:
        return 42

    wait_until(worker_pids)
    server = int(Path(f"/proc/{worker_pids()[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    children = Path(f"/proc/{server}/task/{server}/children")
    ref = answer.remote()
    shot: set[str] = set()
    while len(shot) < 40:  # seen sooner here than in the process table
        for pid in set(children.read_text().split()) - shot:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            shot.add(pid)
    assert whipray.get(answer.remote(), timeout=120) == 42
    assert whipray.get(ref, timeout=120) == 42
