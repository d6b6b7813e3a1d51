"""Modin: the results of pandas, computed by tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

os.environ.update(MODIN_ENGINE="ray", MODIN_CPUS="2", MODIN_PROGRESS_BAR="0")


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(7)
    frame = pandas.DataFrame(
        {
            "key": random.integers(0, 9, 2000),
            "value": random.random(2000),
            "word": random.choice(["a", "b", "c"], 2000),
        }
    )
    path = tmp_path_factory.mktemp("modin") / "frame.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def modin(ray: Any) -> Any:
    import modin.pandas

    return modin.pandas


@pytest.fixture(scope="module")
def frames(modin: Any, csv: Path) -> tuple[Any, pandas.DataFrame]:
    """The same file, read by both."""
    return modin.read_csv(csv), pandas.read_csv(csv)


def test_read_csv(frames: Any) -> None:
    ours, theirs = frames
    assert_frame_equal(ours._to_pandas(), theirs)


def test_it_runs_on_tasks(frames: Any) -> None:
    from modin.config import Engine

    assert Engine.get() == "Ray"
    parts = frames[0]._query_compiler._modin_frame._partitions
    kinds = {str(type(part._data)) for part in parts.flatten()}
    assert kinds == {"<class 'ray.ObjectRef'>"}


def test_groupby(frames: Any) -> None:
    ours, theirs = (f.groupby("key")["value"].agg(["sum", "mean", "count"]) for f in frames)
    assert_frame_equal(ours._to_pandas(), theirs)


def test_merge(frames: Any, modin: Any) -> None:
    names = pandas.DataFrame({"key": range(9), "name": list("ihgfedcba")})
    ours = frames[0].merge(modin.DataFrame(names), on="key")._to_pandas()
    assert_frame_equal(ours, frames[1].merge(names, on="key"))


def test_apply(frames: Any) -> None:
    def row(values: Any) -> Any:
        return values["key"] * 10 + values["value"]

    ours, theirs = (frame.apply(row, axis=1) for frame in frames)
    assert_series_equal(ours._to_pandas(), theirs)


def test_sort_and_fill(frames: Any) -> None:
    ours, theirs = (f.sort_values(["word", "value"]).reset_index(drop=True) for f in frames)
    assert_frame_equal(ours._to_pandas(), theirs)


def test_describe_and_quantiles(frames: Any) -> None:
    ours, theirs = (frame.describe() for frame in frames)
    assert_frame_equal(ours._to_pandas(), theirs)


def test_write_and_read_parquet(frames: Any, modin: Any, tmp_path: Path) -> None:
    frames[0].to_parquet(tmp_path / "out.parquet")
    assert_frame_equal(pandas.read_parquet(tmp_path / "out.parquet"), frames[1])
    assert_frame_equal(modin.read_parquet(tmp_path / "out.parquet")._to_pandas(), frames[1])
