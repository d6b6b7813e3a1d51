"""Workers are killed at random times under a mixed load; nothing is lost and nothing hangs."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import whipray
from whipray import _core

WORKER = 3  # enum wr_role
KILLS = int(os.environ.get("WHIPRAY_KILLS", "500"))


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=2, log_to_driver=False)
    yield
    whipray.shutdown()


def worker_pids() -> list[int]:
    """Live worker processes of the session (not the driver)."""
    return [row["pid"] for row in _core.procs() if row["role"] == WORKER and row["pid"]]


class Killer(threading.Thread):
    """Kills one worker after another until it has killed as many as asked."""

    def __init__(self, wanted: int) -> None:
        super().__init__(daemon=True)
        self.left, self.random = wanted, random.Random(7)
        self.stop = threading.Event()

    def run(self) -> None:
        while self.left and not self.stop.is_set():
            pids = worker_pids()
            if pids:
                try:
                    os.kill(self.random.choice(pids), signal.SIGKILL)
                    self.left -= 1
                except ProcessLookupError:
                    pass  # gone between the look and the shot
            self.stop.wait(self.random.uniform(0.0, 0.02))


def wait_until(holds: Any, seconds: float = 20.0) -> None:
    """Poll a condition; fail with the engine's state when it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, (_core.stats(), _core.procs())
        time.sleep(0.01)


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
    killer = Killer(KILLS)
    killer.start()
    rounds = 0
    while killer.is_alive():
        sums = [add.remote(kept, i) for i in range(3)]
        arrays = [large.remote(i) for i in range(3)]
        trees = [nested.remote(5) for _ in range(3)]
        for i, ref in enumerate(sums):
            assert int(whipray.get(ref, timeout=60)[-1]) == 99_999 + i
        for i, ref in enumerate(arrays):
            assert whipray.get(ref, timeout=60).sum() == 50_000 * i
        assert whipray.get(trees, timeout=60) == [15, 15, 15]
        rounds += 1
    assert killer.left == 0
    assert rounds > 0
    del sums, arrays, trees, ref
    assert whipray.get(kept).sum() == np.arange(100_000).sum()
    wait_until(lambda: whipray.available_resources().get("CPU") == 2.0)


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
        pid = whipray.get(counter.pid.remote(), timeout=30)
        os.kill(pid, signal.SIGKILL)
        assert whipray.get(counter.pid.remote(), timeout=30) != pid
        assert whipray.get(counter.add.remote(), timeout=30) == 1
