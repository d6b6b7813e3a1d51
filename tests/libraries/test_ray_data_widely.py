"""More of Ray's datasets: formats, joins, streams for training, statistics, preprocessors."""

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


def ids(dataset: Any) -> list[int]:
    return sorted(int(row["id"]) for row in dataset.take_all())


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_files_of_every_form(data: Any, tmp_path: Path, form: str) -> None:
    table = data.range(30).map(lambda row: {"id": row["id"], "half": row["id"] / 2})
    getattr(table, f"write_{form}")(str(tmp_path))
    back = getattr(data, f"read_{form}")(str(tmp_path)).to_pandas().sort_values("id")
    assert list(back["id"]) == list(range(30))
    np.testing.assert_allclose(back["half"], np.arange(30) / 2)


def test_text_and_bytes(data: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    lines = data.read_text(str(tmp_path / "a.txt")).take_all()
    assert [row["text"] for row in lines] == ["one", "two", "three"]
    (found,) = data.read_binary_files(str(tmp_path / "a.txt")).take_all()
    assert found["bytes"] == b"one\ntwo\nthree\n"


def test_arrays(data: Any) -> None:
    array = np.arange(24.0).reshape(6, 2, 2)
    table = data.from_numpy(array)
    back = np.stack([row["data"] for row in table.take_all()])
    np.testing.assert_array_equal(back, array)
    scaled = table.map_batches(lambda batch: {"data": batch["data"] * 2})
    (batch,) = scaled.iter_batches(batch_size=6)
    np.testing.assert_array_equal(batch["data"], array * 2)


def test_arrow_and_pandas_batches(data: Any) -> None:
    import pyarrow as pa

    table = data.from_arrow(pa.table({"id": [1, 2, 3]}))
    twice = table.map_batches(lambda frame: frame * 2, batch_format="pandas")
    assert ids(twice) == [2, 4, 6]
    less = table.map_batches(lambda part: part.slice(0, 1), batch_format="pyarrow", batch_size=None)
    assert less.count() >= 1


def test_union_zip_and_limit(data: Any) -> None:
    assert data.range(3).union(data.range(4)).count() == 7
    other = data.range(5).map(lambda row: {"square": row["id"] ** 2})
    rows = data.range(5).zip(other).take_all()
    assert sorted((row["id"], row["square"]) for row in rows) == [(i, i * i) for i in range(5)]
    assert data.range(1000).limit(7).count() == 7


@pytest.mark.parametrize("kind", ["inner", "left_outer", "full_outer"])
def test_join(data: Any, kind: str) -> None:
    left = pandas.DataFrame({"key": [1, 2, 3, 4], "left": list("abcd")})
    right = pandas.DataFrame({"key": [3, 4, 5], "right": list("xyz")})
    ours = data.from_pandas(left).join(
        data.from_pandas(right), join_type=kind, num_partitions=2, on=("key",)
    )
    how = {"inner": "inner", "left_outer": "left", "full_outer": "outer"}[kind]
    theirs = left.merge(right, on="key", how=how)
    found = ours.to_pandas().sort_values("key").reset_index(drop=True)
    assert list(found["key"]) == sorted(theirs["key"])
    assert list(found["left"].fillna("")) == list(theirs.sort_values("key")["left"].fillna(""))


def test_shuffles_keep_every_row(data: Any) -> None:
    shuffled = data.range(200, override_num_blocks=4).random_shuffle(seed=5)
    rows = [row["id"] for row in shuffled.take_all()]
    assert sorted(rows) == list(range(200)) and rows != list(range(200))
    assert ids(data.range(40, override_num_blocks=4).randomize_block_order(seed=1)) == list(
        range(40)
    )
    parts = data.range(100).random_sample(0.5, seed=2).count()
    assert 20 < parts < 80


@pytest.mark.parametrize("strategy", ["PULL_BASED", "PUSH_BASED"])
def test_shuffles_that_push_and_that_pull_agree(data: Any, strategy: str) -> None:
    from ray.data.context import DataContext, ShuffleStrategy

    context = DataContext.get_current()
    before = context.shuffle_strategy
    context.shuffle_strategy = ShuffleStrategy[f"SORT_SHUFFLE_{strategy}"]
    try:
        numbers = [{"key": (7 * i) % 101, "part": i % 5} for i in range(101)]
        table = data.from_items(numbers, override_num_blocks=6)
        assert [row["key"] for row in table.sort("key").take_all()] == list(range(101))
        backwards = table.sort("key", descending=True).take_all()
        assert [row["key"] for row in backwards] == list(reversed(range(101)))
        shuffled = [row["key"] for row in table.random_shuffle(seed=3).take_all()]
        assert sorted(shuffled) == list(range(101)) and shuffled != list(range(101))
        spread = table.repartition(4, shuffle=True).materialize()
        assert spread.num_blocks() == 4 and spread.sum("key") == sum(range(101))
        sums = table.groupby("part").sum("key").sort("part").take_all()
        wanted = [sum(row["key"] for row in numbers if row["part"] == k) for k in range(5)]
        assert [row["sum(key)"] for row in sums] == wanted
    finally:
        context.shuffle_strategy = before


def test_groups(data: Any) -> None:
    table = data.from_items([{"key": i % 3, "value": float(i)} for i in range(30)])
    frame = table.to_pandas()
    centred = table.groupby("key").map_groups(
        lambda group: {"key": group["key"], "value": group["value"] - group["value"].mean()}
    )
    ours = sorted(row["value"] for row in centred.take_all())
    theirs = frame["value"] - frame.groupby("key")["value"].transform("mean")
    np.testing.assert_allclose(ours, sorted(theirs))
    for name in ("min", "max", "mean", "std"):
        found = getattr(table.groupby("key"), name)("value").to_pandas().sort_values("key")
        wanted = getattr(frame.groupby("key")["value"], name)()
        np.testing.assert_allclose(found[f"{name}(value)"], wanted)


def test_statistics_of_columns(data: Any) -> None:
    from ray.data.aggregate import Max, Mean, Min

    table = data.range(50)
    assert table.unique("id")[:2] is not None and sorted(table.unique("id")) == list(range(50))
    assert table.mean("id") == 24.5 and table.min("id") == 0 and table.max("id") == 49
    assert table.std("id") == pytest.approx(np.arange(50).std(ddof=1))
    found = table.aggregate(Min("id"), Max("id"), Mean("id"))
    assert found == {"min(id)": 0, "max(id)": 49, "mean(id)": 24.5}


def test_columns(data: Any) -> None:
    table = data.range(4).add_column("double", lambda batch: batch["id"] * 2)
    assert table.columns() == ["id", "double"]
    assert table.drop_columns(["id"]).columns() == ["double"]
    assert table.select_columns(["id"]).rename_columns({"id": "number"}).columns() == ["number"]
    assert table.schema().names == ["id", "double"]


def test_expressions(data: Any) -> None:
    from ray.data.expressions import col, lit

    table = data.range(10).with_column("more", col("id") + lit(5))
    assert [row["more"] for row in table.sort("id").take(3)] == [5, 6, 7]
    assert data.range(10).filter(expr="id >= 7").count() == 3


def test_splits(data: Any) -> None:
    train, test = data.range(100).train_test_split(0.25)
    assert train.count() == 75 and test.count() == 25
    assert [part.count() for part in data.range(12).split(3, equal=True)] == [4, 4, 4]
    assert [part.count() for part in data.range(10).split_at_indices([2, 5])] == [2, 3, 5]


def test_materialized_and_statistics_of_the_run(data: Any) -> None:
    done = data.range(100, override_num_blocks=4).map_batches(lambda batch: batch).materialize()
    assert done.num_blocks() == 4 and done.count() == 100
    assert "Operator" in done.stats()
    assert done.size_bytes() > 0


class Counts:
    """A mapper with state of its own."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.calls = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import os

        self.calls += 1
        size = len(batch["id"])
        return {"id": batch["id"] + self.step, "pid": np.full(size, os.getpid())}


def test_pool_of_actors(data: Any) -> None:
    import os

    mapped = data.range(60, override_num_blocks=6).map_batches(
        Counts,
        fn_constructor_kwargs={"step": 100},
        compute=data.ActorPoolStrategy(min_size=1, max_size=2),
        batch_size=10,
        num_cpus=0.5,
    )
    rows = mapped.take_all()
    assert sorted(row["id"] for row in rows) == list(range(100, 160))
    pids = {int(row["pid"]) for row in rows}
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids


async def slowly(row: dict[str, Any]) -> Any:
    yield row


def test_async_mapper(data: Any) -> None:
    class Async:
        async def __call__(self, batch: dict[str, Any]) -> Any:
            import asyncio

            await asyncio.sleep(0.001)
            yield {"id": batch["id"] + 1}

    assert ids(data.range(20).map_batches(Async, concurrency=1, batch_size=5)) == list(range(1, 21))


def test_generators_as_mappers(data: Any) -> None:
    def twice(batch: dict[str, Any]) -> Any:
        for _ in range(2):
            yield batch

    assert data.range(10).map_batches(twice).count() == 20


def test_errors_of_mappers_are_raised(data: Any) -> None:
    def fails(row: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("on purpose")

    with pytest.raises(Exception, match="on purpose"):
        data.range(3).map(fails).take_all()


def test_streaming_split(ray: Any, data: Any) -> None:
    first, second = data.range(100, override_num_blocks=10).streaming_split(2, equal=True)

    @ray.remote(num_cpus=0)
    def consume(shard: Any) -> list[int]:
        return [int(row["id"]) for row in shard.iter_rows()]

    parts = ray.get([consume.remote(first), consume.remote(second)])
    assert [len(part) for part in parts] == [50, 50]
    assert sorted(parts[0] + parts[1]) == list(range(100))


def test_batches_of_tensors(data: Any) -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch is large; the test is for those who have it"
    )
    batches = list(data.range(25).iter_torch_batches(batch_size=10))
    assert [len(batch["id"]) for batch in batches] == [10, 10, 5]
    assert isinstance(batches[0]["id"], torch.Tensor)
    assert int(torch.cat([batch["id"] for batch in batches]).sum()) == 300


def test_local_shuffle_and_prefetch(data: Any) -> None:
    seen: list[int] = []
    for batch in data.range(50).iter_batches(
        batch_size=8, prefetch_batches=2, local_shuffle_buffer_size=16, local_shuffle_seed=1
    ):
        seen += list(batch["id"])
    assert sorted(seen) == list(range(50)) and seen != list(range(50))


def test_preprocessors(data: Any) -> None:
    from ray.data.preprocessors import Chain, LabelEncoder, MinMaxScaler, StandardScaler

    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "label": list("abab")})
    table = data.from_pandas(frame)
    scaled = StandardScaler(columns=["x"]).fit_transform(table).to_pandas()
    np.testing.assert_allclose(scaled["x"], (frame["x"] - 2.5) / np.std(frame["x"]))
    both = Chain(MinMaxScaler(columns=["x"]), LabelEncoder(label_column="label"))
    done = both.fit_transform(table).to_pandas()
    assert list(done["label"]) == [0, 1, 0, 1] and done["x"].max() == 1.0
    batch = both.transform_batch(pandas.DataFrame({"x": [4.0], "label": ["b"]}))
    assert batch["x"][0] == 1.0 and batch["label"][0] == 1


def test_references_as_sources(ray: Any, data: Any) -> None:
    frame = pandas.DataFrame({"id": [1, 2]})
    table = data.from_pandas_refs([ray.put(frame), ray.put(frame)])
    assert table.count() == 4
    (frame_ref, *_), table_refs = table.to_pandas_refs(), table.to_arrow_refs()
    assert list(ray.get(frame_ref)["id"]) == [1, 2] and len(table_refs) == 2


def test_large_blocks_are_streamed(data: Any) -> None:
    wide = data.range(64, override_num_blocks=16).map_batches(
        lambda batch: {"x": np.ones((len(batch["id"]), 50_000))}
    )
    total = 0.0
    for batch in wide.iter_batches(batch_size=4):
        total += float(batch["x"].sum())
    assert total == 64 * 50_000


def test_a_dataset_inside_a_task(ray: Any, data: Any) -> None:
    @ray.remote(num_cpus=0)
    def inside() -> int:
        from ray import data

        return int(data.range(10).map(lambda row: {"id": row["id"] * 2}).sum("id"))

    assert ray.get(inside.remote()) == 90


def test_sql(data: Any, tmp_path: Path) -> None:
    import sqlite3

    path = str(tmp_path / "a.db")
    with sqlite3.connect(path) as connection:
        connection.execute("create table numbers (n integer)")
        connection.executemany("insert into numbers values (?)", [(i,) for i in range(10)])
    connection.close()
    table = data.read_sql("select * from numbers", lambda: sqlite3.connect(path))
    assert sorted(row["n"] for row in table.take_all()) == list(range(10))


def test_a_worker_that_dies_is_replaced(data: Any, tmp_path: Path) -> None:
    mark = tmp_path / "died"

    def dies_once(batch: dict[str, Any]) -> dict[str, Any]:
        import os

        if not mark.exists():
            mark.touch()
            os._exit(1)
        return batch

    assert data.range(8, override_num_blocks=2).map_batches(dies_once).count() == 8
