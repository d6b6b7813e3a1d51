"""Processes die at named places of a hostile build: workers at every one, in the middle of Python
tasks; drivers where they submit, the daemon in the middle of a sweep, each in every way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from whipray import _core
from whipray.exceptions import WorkerCrashedError

from .helpers import living, wait_until_whole
from .test_daemon_and_driver_death import start_driver, wait_until_gone

MATRIX = Path(__file__).resolve().parents[1] / "c/kill.c"
PLACES = re.findall(r'"([a-z_]+\.[a-z_.]+)"', MATRIX.read_text())
HOSTILE = _core.__file__ is not None and b"WHIPRAY_FAILPOINT" in Path(_core.__file__).read_bytes()


@whipray.remote
def small(x: int) -> int:
    return x


@whipray.remote(num_cpus=0.5, resources={"lamp": 1}, num_returns=2)
def mixed(array: Any, n: int) -> Any:
    child = small.remote(n)
    inner = whipray.put(np.full(30_000, n))
    return array[:10] * whipray.get(child), [inner]


def crashed_at(failpoint: str, kept: Any, tasks: int, timeout: float) -> int:
    """Runs tasks in workers with that failpoint; how many of them had no retries left."""
    env = {"env_vars": {"WHIPRAY_FAILPOINT": failpoint}}
    task = mixed.options(max_retries=3, runtime_env=env)
    pairs, crashed = [task.remote(kept, n) for n in range(tasks)], 0
    for n, (head, inner) in enumerate(pairs):
        try:
            assert whipray.get(head, timeout=timeout).sum() == 10 * n
            assert whipray.get(whipray.get(inner, timeout=timeout)[0]).sum() == 30_000 * n
        except WorkerCrashedError:
            crashed += 1
    return crashed


@pytest.mark.skipif(not HOSTILE, reason="this build has no failpoints")
@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("nth", [6, 9])  # not earlier: one must come to its first task
def test_workers_die_at_every_place(nth: int) -> None:
    assert len(PLACES) > 50
    kept = whipray.put(np.ones(200_000))
    before = living()
    deaths = _core.stats()["sweeps"]
    for place in PLACES:
        crashed_at(f"{place}@{nth}=kill", kept, tasks=4, timeout=60)
    assert _core.stats()["sweeps"] > deaths + 5
    wait_until_whole(before)


UNARMED = {"env_vars": {"WHIPRAY_FAILPOINT": ""}}  # workers; all others have it from the driver
WAYS = ["kill", "segv", "exit"]

# Any worker may be the next one; the task that it ran is queued again, by the sweep.
SHOOT = """
    while not load_error:
        for row in _core.procs():
            if row["role"] == 3 and row["pid"]:
                try:
                    os.kill(row["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    pass
        time.sleep(0.05)
    print(type(load_error[0]).__name__)
"""


@pytest.mark.skipif(not HOSTILE, reason="this build has no failpoints")
@pytest.mark.parametrize("way", WAYS)
def test_a_daemon_that_dies_in_the_middle_of_a_sweep_is_named(way: str) -> None:
    armed = {"WHIPRAY_FAILPOINT": f"requeue.begin@2={way}"}
    driver, directory, pids = start_driver(
        SHOOT, armed, num_cpus=2, log_to_driver=False, runtime_env=UNARMED
    )
    out, err = driver.communicate()
    assert out.split() == ["RaySystemError"], err
    wait_until_gone(pids, directory)


@pytest.mark.skipif(not HOSTILE, reason="this build has no failpoints")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["task.building", "submit.queued", "actor.pushed", "seal.before"])
def test_a_driver_that_dies_at_a_place_leaves_nothing(place: str, way: str) -> None:
    armed = {"WHIPRAY_FAILPOINT": f"{place}@4000={way}"}
    driver, directory, pids = start_driver(
        "thread.join()", armed, num_cpus=2, log_to_driver=False, runtime_env=UNARMED
    )
    driver.communicate()
    assert driver.returncode in (-9, -11, 41)
    wait_until_gone(pids, directory)
