"""Ray's own datasets: their Python files on Whipray's tasks, streams and actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest


@pytest.fixture(scope="module")
def data(ray: Any) -> Any:
    from ray import data

    data.DataContext.get_current().enable_progress_bars = False
    return data


def test_map_batches(data: Any) -> None:
    doubled = data.range(100).map_batches(lambda batch: {"id": batch["id"] * 2})
    assert [row["id"] for row in doubled.take(5)] == [0, 2, 4, 6, 8]
    assert doubled.sum("id") == 9900 and doubled.count() == 100


def test_rows_filters_and_flat_maps(data: Any) -> None:
    found = data.from_items(list(range(20))).filter(lambda row: row["item"] % 5 == 0)
    assert sorted(row["item"] for row in found.take_all()) == [0, 5, 10, 15]
    twice = found.flat_map(lambda row: [row, row])
    assert twice.count() == 8


def test_actors_as_mappers(data: Any) -> None:
    class Adds:
        def __init__(self, number: int) -> None:
            self.number = number

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {"id": batch["id"] + self.number}

    added = data.range(10).map_batches(Adds, fn_constructor_args=(7,), concurrency=1)
    assert sorted(row["id"] for row in added.take_all()) == list(range(7, 17))


@pytest.fixture
def frame() -> pandas.DataFrame:
    random = np.random.default_rng(3)
    return pandas.DataFrame({"key": random.integers(0, 4, 200), "value": random.random(200)})


def test_read_csv_and_write_parquet(data: Any, frame: pandas.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "frame.csv", index=False)
    table = data.read_csv(str(tmp_path / "frame.csv"))
    pandas.testing.assert_frame_equal(table.to_pandas(), frame, check_dtype=False)
    table.write_parquet(str(tmp_path / "out"))
    back = data.read_parquet(str(tmp_path / "out")).to_pandas()
    order = ["key", "value"]
    pandas.testing.assert_frame_equal(
        back.sort_values(order).reset_index(drop=True),
        frame.sort_values(order).reset_index(drop=True),
        check_dtype=False,
    )


def test_groupby(data: Any, frame: pandas.DataFrame) -> None:
    ours = data.from_pandas(frame).groupby("key").sum("value").to_pandas()
    ours = ours.sort_values("key").set_index("key")["sum(value)"]
    np.testing.assert_allclose(ours, frame.groupby("key")["value"].sum())


def test_sort_and_repartition(data: Any, frame: pandas.DataFrame) -> None:
    table = data.from_pandas(frame).repartition(4).sort("value")
    ours = [row["value"] for row in table.take_all()]
    assert ours == sorted(frame["value"])


def test_batches_for_training(data: Any) -> None:
    sizes = [len(batch["id"]) for batch in data.range(50).iter_batches(batch_size=20)]
    assert sizes == [20, 20, 10]
