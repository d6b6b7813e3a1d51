"""Workers die at every named place of a hostile build, in the middle of Python tasks."""

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


@pytest.mark.skipif(not HOSTILE, reason="this build has no failpoints")
@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("nth", [6, 9])  # not earlier: one must come to its first task
def test_workers_die_at_every_place(nth: int) -> None:
    assert len(PLACES) > 50
    kept = whipray.put(np.ones(200_000))
    before = living()
    deaths = _core.stats()["sweeps"]
    for place in PLACES:
        env = {"env_vars": {"WHIPRAY_FAILPOINT": f"{place}@{nth}=kill"}}
        task = mixed.options(max_retries=3, runtime_env=env)
        pairs = [task.remote(kept, n) for n in range(4)]
        for n, (head, inner) in enumerate(pairs):
            try:
                assert whipray.get(head, timeout=60).sum() == 10 * n
                assert whipray.get(whipray.get(inner, timeout=60)[0]).sum() == 30_000 * n
            except WorkerCrashedError:
                pass  # it has no retries left
        del pairs, head, inner, task
    assert _core.stats()["sweeps"] > deaths + 5
    wait_until_whole(before)
