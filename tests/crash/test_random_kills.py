"""Workers are killed at random times under load; nothing is lost and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray

from .helpers import KILLS, Killer, living, wait_until, wait_until_whole, worker_pids
from .mixed_load import Load, Waits
from .record import Record

SOAK_SECONDS = float(os.environ.get("WHIPRAY_SOAK_SECONDS", "inf"))


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
    waits, rounds = Waits(), 0
    with Killer(KILLS - KILLS // 2, waits) as killer:
        while killer.is_alive():
            sums = [add.remote(kept, i) for i in range(3)]
            arrays = [large.remote(i) for i in range(3)]
            trees = [nested.remote(5) for _ in range(3)]
            for i, ref in enumerate(sums):
                assert int(waits.get(ref)[-1]) == 99_999 + i
            for i, ref in enumerate(arrays):
                assert waits.get(ref).sum() == 50_000 * i
            assert waits.get(trees) == [15, 15, 15]
            rounds += 1
    assert killer.left == 0
    assert rounds > 0
    del sums, arrays, trees, ref
    assert whipray.get(kept).sum() == np.arange(100_000).sum()
    wait_until_whole(before)
    assert before["value_bytes"] >= 800_000


@pytest.mark.usefixtures("session")
def test_a_mixed_load_survives_killed_workers() -> None:
    """After each round there is what there was before: no value, reference or claim is left over.

    With WHIPRAY_SOAK_SECONDS it ends after that time, whatever has been killed by then."""
    kept = whipray.put({"name": b"kept" * 10_000})
    empty = living()
    load = Load()
    load.come_up()
    kinds = ("actors", "objects", "value_bytes")  # an actor keeps its creation: None, one byte
    alive = {**empty, **{kind: empty[kind] + 3 for kind in kinds}}
    wait_until_whole(alive)
    began, rounds = time.monotonic(), 0
    with Record() as record, Killer(KILLS // 2, load.waits) as killer:
        while killer.is_alive():
            load.play_round(rounds)
            rounds += 1
            with killer.gun:
                wait_until_whole(alive)
                record.add(rounds=rounds, kills_left=killer.left, longest=load.waits.longest)
            load.waits.longest = 0.0
            if time.monotonic() - began > SOAK_SECONDS:
                killer.stop.set()
    assert killer.left == 0 or killer.stop.is_set()
    assert rounds > 0
    del load, killer
    assert whipray.get(kept)["name"] == b"kept" * 10_000
    wait_until_whole(empty)


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
