"""Workers are killed while they compute lost values again: all come back, and nothing stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from whipray import _core

from .helpers import Killer, files_in, living, wait_until, wait_until_whole
from .mixed_load import Waits

MIB = 1 << 20
ROUNDS = 5


@pytest.fixture
def spilled(tmp_path: Path) -> Iterator[Path]:
    whipray.init(
        num_cpus=2,
        object_store_memory=48 * MIB,
        object_spilling_directory=str(tmp_path),
        log_to_driver=False,
    )
    yield tmp_path
    whipray.shutdown()


@whipray.remote(max_retries=-1)
def make(k: int) -> Any:
    return np.full(MIB // 8, k)


@whipray.remote(max_retries=-1)
def add(left: Any, right: Any) -> Any:
    return left + right


@whipray.remote(max_retries=-1, num_returns=2)
def both(array: Any) -> Any:
    return array + 1, array - 1


def lose(spilled: Path) -> None:
    fill = [whipray.put(np.zeros(4 * MIB // 8)) for _ in range(30)]
    for path in spilled.rglob("*"):
        if path.is_file() and path.name.isdigit():
            path.unlink()
    assert fill


def test_workers_die_while_lost_values_are_made_again(spilled: Path) -> None:
    before = living()
    assert before["objects"] == 0
    waits = Waits()
    with Killer(80, waits) as killer:
        for round_ in range(ROUNDS):
            parts = [make.remote(k) for k in range(12)]
            sums = [parts[0]]
            for part in parts[1:]:
                sums.append(add.remote(sums[-1], part))
            halves = [both.remote(total) for total in sums]
            whipray.wait(sums, num_returns=len(sums))
            del parts, part  # the lost sums need them all the same
            lose(spilled)
            for k in (11, 5, 0, 7):
                total = k * (k + 1) // 2
                assert (waits.get(sums[k]) == total).all(), round_
                more, less = halves[k]
                assert (waits.get(less) == total - 1).all()
                assert (waits.get(more) == total + 1).all()
    assert killer.left < 80
    del sums, halves, more, less
    gc.collect()
    wait_until(lambda: _core.audit()["lineage"] == 0)
    wait_until_whole(before)
    wait_until(lambda: not files_in(spilled))
