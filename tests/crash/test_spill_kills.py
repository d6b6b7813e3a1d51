"""Workers are killed while values leave memory and come back: nothing is lost and nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray

from .helpers import Killer, files_in, living, wait_until, wait_until_whole
from .mixed_load import Waits

MIB = 1 << 20
ROUNDS = 6


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
def add_one(array: Any) -> Any:
    view = array[::7]  # the view, and with it the argument, lives through what follows
    result = array + 1
    assert (view == result[::7] - 1).all()
    return result


@whipray.remote(max_retries=-1)
def total(*arrays: Any) -> int:
    return sum(int(array[0]) + int(array[-1]) for array in arrays)


def test_workers_die_while_values_come_and_go(spilled: Path) -> None:
    before = living()
    assert before["objects"] == 0
    waits = Waits()
    with Killer(60, waits) as killer:
        for round_ in range(ROUNDS):
            refs = [whipray.put(np.full(2 * MIB // 8, k)) for k in range(40)]  # 80 MiB
            more = [add_one.remote(ref) for ref in refs]
            sums = [total.remote(a, b) for a, b in zip(refs, more, strict=True)]
            assert waits.get(sums) == [4 * k + 2 for k in range(40)], round_
            for k in range(0, 40, 3):
                assert (waits.get(more[k]) == k + 1).all()
    assert killer.left < 60
    del refs, more, sums
    wait_until_whole(before)
    wait_until(lambda: not files_in(spilled))


@whipray.remote(max_retries=-1)
def wrap(parcel: Any, k: int) -> Any:
    """A value that refers to what the given one refers to, and to one of the worker's own."""
    ref, array = parcel
    return [ref, whipray.put(np.full(MIB // 8, 3 * k)), array + 1]


@whipray.remote(max_retries=-1)
def weigh(parcel: Any) -> int:
    first, second, array = parcel
    return int(whipray.get(first)[-1]) + int(whipray.get(second)[0]) + int(array[-1])


def test_workers_die_while_values_that_hold_references_come_and_go(spilled: Path) -> None:
    before = living()
    assert before["objects"] == 0
    waits = Waits()
    with Killer(60, waits) as killer:
        for round_ in range(ROUNDS):
            inner = [whipray.put(np.full(MIB // 8, k)) for k in range(20)]
            parcels = [whipray.put([ref, np.full(MIB // 8, 2 * k)]) for k, ref in enumerate(inner)]
            del inner  # on disk or in memory, the parcels keep them
            wrapped = [wrap.remote(parcel, k) for k, parcel in enumerate(parcels)]
            sums = [weigh.remote(parcel) for parcel in wrapped]
            assert waits.get(sums) == [6 * k + 1 for k in range(20)], round_
            assert files_in(spilled)
            for k in range(0, 20, 3):
                ref, array = waits.get(parcels[k])
                assert (waits.get(ref) == k).all() and (array == 2 * k).all()
                kept, own, more = waits.get(wrapped[k])
                assert (waits.get(own) == 3 * k).all() and (more == 2 * k + 1).all()
                assert (waits.get(kept) == k).all()
    assert killer.left < 60
    del parcels, wrapped, sums, ref, array, kept, own, more
    wait_until_whole(before)
    wait_until(lambda: not files_in(spilled))
