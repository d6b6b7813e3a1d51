"""A store that is too small for what a program keeps: values go to disk and come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .helpers import Ray, wait_until

MIB = 1 << 20
STORE = 80 * MIB
Start = Callable[..., Any]


@pytest.fixture
def spilled(start: Start, tmp_path: Path) -> Path:
    """The directory that a small store spills to."""
    start(object_store_memory=STORE, object_spilling_directory=str(tmp_path))
    return tmp_path


def large_files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file() and file.stat().st_size >= MIB]


def values(ray: Ray, n: int, mib: int = 8) -> list[Any]:
    return [ray.put(np.full(mib * MIB // 8, k)) for k in range(n)]


def test_a_program_may_keep_more_than_fits(ray_fresh: Ray, spilled: Path) -> None:
    refs = values(ray_fresh, 40)  # 320 MiB
    assert large_files(spilled)
    for k in [*range(0, 40, 3), 39, 1]:
        array = ray_fresh.get(refs[k])
        assert (array == k).all()
        del array
    ready, others = ray_fresh.wait(refs[:3], num_returns=3)
    assert ready == refs[:3] and others == []


def test_arguments_and_results_of_tasks(ray_fresh: Ray, spilled: Path) -> None:
    @ray_fresh.remote
    def add(array: Any, k: int) -> Any:
        return array + k

    @ray_fresh.remote
    def ends(array: Any) -> list[int]:
        return [int(array[0]), int(array[-1])]

    refs = values(ray_fresh, 16)
    more = [add.remote(ref, 100) for ref in refs]
    assert ray_fresh.get([ends.remote(ref) for ref in more]) == [[100 + k] * 2 for k in range(16)]
    assert large_files(spilled)


def test_a_view_that_lives_keeps_its_values(ray_fresh: Ray, spilled: Path) -> None:
    refs = values(ray_fresh, 3)
    views = [ray_fresh.get(ref) for ref in refs]
    first = views[0][:1000]
    del refs, views[0]
    others = values(ray_fresh, 20)
    assert (first == 0).all()
    assert (views[0] == 1).all() and (views[1] == 2).all()
    assert (ray_fresh.get(others[0]) == 0).all()
    assert (views[0] == 1).all() and (views[1] == 2).all()


def test_small_values_share_files(ray_fresh: Ray, spilled: Path) -> None:
    texts = [bytes([k % 250]) * 200_000 for k in range(1000)]  # 200 MB
    refs = [ray_fresh.put(text) for text in texts]
    wait_until(lambda: large_files(spilled))
    assert len([file for file in spilled.rglob("*") if file.is_file()]) < 300
    for k in range(0, 1000, 83):
        assert ray_fresh.get(refs[k]) == texts[k]


def test_files_go_when_the_values_go_or_the_session_ends(ray_fresh: Ray, spilled: Path) -> None:
    refs = values(ray_fresh, 24)
    before = len(large_files(spilled))
    assert before
    kept = refs[-1]
    del refs[:]
    wait_until(lambda: len(large_files(spilled)) < before)
    assert (ray_fresh.get(kept) == 23).all()
    ray_fresh.shutdown()
    wait_until(lambda: not large_files(spilled))


def test_a_configuration_of_an_unknown_type_is_refused(ray_fresh: Ray, start: Start) -> None:
    config = json.dumps({"type": "punched cards", "params": {}})
    with pytest.raises(ValueError, match="Unknown external storage type"):
        start(_system_config={"object_spilling_config": config})
    assert not ray_fresh.is_initialized()
