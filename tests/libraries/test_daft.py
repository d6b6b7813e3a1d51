"""Daft: data frames whose partitions are worked on by an actor of each node."""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture(scope="module")
def daft(ray: Any) -> Any:
    import daft

    daft.set_runner_ray()
    return daft


@pytest.fixture
def frame(daft: Any) -> Any:
    values = {"a": list(range(1000)), "k": [number % 7 for number in range(1000)]}
    return daft.from_pydict(values).into_partitions(4)


def test_groups(daft: Any, frame: Any) -> None:
    twice = frame.with_column("b", daft.col("a") * 2)
    found = twice.groupby("k").agg(daft.col("b").sum()).sort("k").to_pydict()
    assert found == {"k": list(range(7)), "b": [2 * sum(range(k, 1000, 7)) for k in range(7)]}


def test_functions_run_elsewhere(daft: Any, frame: Any) -> None:
    @daft.func
    def process(a: int) -> int:
        return os.getpid()

    pids = frame.select(process(daft.col("a")).alias("pid")).distinct().to_pydict()["pid"]
    assert pids and os.getpid() not in pids


def test_joins(daft: Any, frame: Any) -> None:
    names = daft.from_pydict({"k": list(range(7)), "name": list("abcdefg")})
    joined = frame.join(names, on="k").where(daft.col("name") == "c")
    assert joined.count_rows() == len(range(2, 1000, 7))
