"""Dask's collections through `ray.util.dask`: the results of NumPy and pandas."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal


@pytest.fixture(scope="module", autouse=True)
def on_ray(ray: Any) -> Iterator[Any]:
    """The module, switched on."""
    import ray.util.dask

    strings_of_pandas = dask.config.set({"dataframe.convert-string": False})
    with strings_of_pandas, ray.util.dask.enable_dask_on_ray():
        yield ray.util.dask


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    random = np.random.default_rng(3)
    return pandas.DataFrame(
        {
            "key": random.integers(0, 20, 3000),
            "value": random.random(3000),
            "word": random.choice(["a", "b", "c"], 3000),
            "when": pandas.Timestamp("2026-01-01") + pandas.to_timedelta(np.arange(3000), "min"),
        }
    )


@pytest.fixture(scope="module")
def pieces(frame: pandas.DataFrame) -> Any:
    return dd.from_pandas(frame, npartitions=5)


@pytest.fixture(scope="module")
def matrix() -> np.ndarray[Any, Any]:
    return np.random.default_rng(4).random((300, 200))


@pytest.fixture(scope="module")
def blocks(matrix: np.ndarray[Any, Any]) -> Any:
    return da.from_array(matrix, chunks=(70, 60))


def in_order(frame: pandas.DataFrame) -> pandas.DataFrame:
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


# ---- arrays --------------------------------------------------------------------------------------

ARRAYS = {
    "elementwise": lambda xp, x: xp.sin(x) + 2 * x**2,
    "means of rows": lambda xp, x: x.mean(axis=1),
    "deviation": lambda xp, x: x.std(axis=0),
    "product": lambda xp, x: x @ x.T,
    "tensordot": lambda xp, x: xp.tensordot(x, x, axes=([0], [0])),
    "slices": lambda xp, x: x[10:250:3, ::-1],
    "list of indexes": lambda xp, x: x[[5, 200, 17]],
    "mask": lambda xp, x: xp.where(x > 0.5, x, 0.0),
    "cumulative sum": lambda xp, x: x.cumsum(axis=0),
    "maximum's place": lambda xp, x: x.argmax(axis=1),
    "stack": lambda xp, x: xp.concatenate([x, xp.stack([x[0], x[1]])]),
    "reshape": lambda xp, x: x.reshape(30, 10, 200).sum(axis=1),
    "sums along an axis": lambda xp, x: xp.einsum("ij,ij->j", x, x),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str, matrix: np.ndarray[Any, Any], blocks: Any) -> None:
    compute = ARRAYS[name]
    np.testing.assert_allclose(compute(da, blocks).compute(), compute(np, matrix))


def test_functions_on_blocks_and_their_borders(matrix: np.ndarray[Any, Any], blocks: Any) -> None:
    doubled = blocks.map_blocks(lambda block: block * 2)
    np.testing.assert_array_equal(doubled.compute(), matrix * 2)
    shifted = blocks.map_overlap(
        lambda block: np.roll(block, 1, axis=0), depth=1, boundary="periodic"
    )
    np.testing.assert_array_equal(shifted.compute(), np.roll(matrix, 1, axis=0))


def test_other_chunks(matrix: np.ndarray[Any, Any], blocks: Any) -> None:
    again = blocks.rechunk((100, 100))
    assert again.chunks == ((100, 100, 100), (100, 100))
    np.testing.assert_array_equal(again.compute(), matrix)


def test_linear_algebra(matrix: np.ndarray[Any, Any]) -> None:
    tall = da.from_array(matrix, chunks=(100, 200))
    q, r = dask.compute(*da.linalg.qr(tall))
    np.testing.assert_allclose(q @ r, matrix)
    u, s, v = dask.compute(*da.linalg.svd(tall))
    np.testing.assert_allclose((u * s) @ v, matrix)


def test_random_numbers_depend_on_the_seed_only() -> None:
    def numbers(scheduler: Any = None) -> Any:
        return (
            da.random.default_rng(9).normal(size=(100, 40), chunks=30).compute(scheduler=scheduler)
        )

    np.testing.assert_array_equal(numbers(), numbers("synchronous"))


def test_written_and_read_again(blocks: Any, tmp_path: Path) -> None:
    da.to_npy_stack(str(tmp_path / "stack"), blocks.rechunk((70, 200)))
    np.testing.assert_array_equal(da.from_npy_stack(str(tmp_path / "stack")), blocks)


# ---- data frames ---------------------------------------------------------------------------------

FRAMES = {
    "column": lambda f: f["value"] * 2 + f["key"],
    "filter": lambda f: f[f["value"] > 0.5],
    "assign": lambda f: f.assign(double=f["value"] * 2),
    "sums by key": lambda f: f.groupby("key")["value"].sum(),
    "aggregates by key": lambda f: f.groupby("key").agg(
        {"value": ["mean", "max"], "word": "count"}
    ),
    "two keys": lambda f: f.groupby(["key", "word"])["value"].mean(),
    "counts": lambda f: f["word"].value_counts(),
    "sum": lambda f: f[["value", "key"]].sum(),
    "means": lambda f: f[["value", "key"]].mean(),
    "largest": lambda f: f.nlargest(5, "value"),
    "text": lambda f: f["word"].str.upper(),
    "dates": lambda f: f["when"].dt.day,
    "rolling": lambda f: f["value"].rolling(7).mean(),
    "cumulative": lambda f: f["value"].cumsum(),
    "rows from the top": lambda f: f.head(7),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name: str, frame: pandas.DataFrame, pieces: Any) -> None:
    compute = FRAMES[name]
    ours, theirs = compute(pieces), compute(frame)
    ours = ours.compute() if hasattr(ours, "compute") else ours
    same = assert_frame_equal if isinstance(theirs, pandas.DataFrame) else assert_series_equal
    same(ours.sort_index(), theirs.sort_index(), check_dtype=False)


def test_a_shuffle_brings_keys_together(frame: pandas.DataFrame, pieces: Any) -> None:
    shuffled = pieces.shuffle("key", npartitions=4)
    places = shuffled["key"].map_partitions(lambda part: part.drop_duplicates()).compute()
    assert sorted(places) == sorted(frame["key"].unique())
    assert_frame_equal(in_order(shuffled.compute()), in_order(frame), check_dtype=False)


def test_sorting_and_an_index(frame: pandas.DataFrame, pieces: Any) -> None:
    ours = pieces.sort_values("value").compute().reset_index(drop=True)
    theirs = frame.sort_values("value").reset_index(drop=True)
    assert_frame_equal(ours, theirs, check_dtype=False)
    indexed = pieces.set_index("value")
    assert indexed.known_divisions
    assert_frame_equal(indexed.compute(), frame.set_index("value").sort_index(), check_dtype=False)


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
def test_joins(how: str, frame: pandas.DataFrame, pieces: Any) -> None:
    names = pandas.DataFrame({"key": range(5, 25), "name": [f"n{i}" for i in range(20)]})
    theirs = in_order(frame.merge(names, on="key", how=how))
    for other in (names, dd.from_pandas(names, npartitions=3)):
        ours = in_order(pieces.merge(other, on="key", how=how).compute())
        assert_frame_equal(ours, theirs, check_dtype=False)


def test_apply_within_groups(frame: pandas.DataFrame, pieces: Any) -> None:
    def spread(values: Any) -> Any:
        return values.max() - values.min()

    ours = pieces.groupby("key")["value"].apply(spread, meta=("value", "f8")).compute()
    theirs = frame.groupby("key")["value"].apply(spread)
    assert_series_equal(ours.sort_index(), theirs)


def test_files(frame: pandas.DataFrame, pieces: Any, tmp_path: Path) -> None:
    pieces.to_parquet(tmp_path / "parquet")
    assert_frame_equal(dd.read_parquet(tmp_path / "parquet").compute(), frame, check_dtype=False)
    pieces.to_csv(str(tmp_path / "part-*.csv"), index=False)
    again = dd.read_csv(str(tmp_path / "part-*.csv"), parse_dates=["when"], blocksize=10_000)
    assert again.npartitions > 5
    assert_frame_equal(again.compute().reset_index(drop=True), frame, check_dtype=False)


# ---- persist, callbacks, errors ------------------------------------------------------------------


def references(collection: Any) -> list[Any]:
    return list(dict(collection.__dask_graph__()).values())


def test_persisted_collections_hold_references(
    ray: Any, frame: pandas.DataFrame, pieces: Any, blocks: Any, matrix: np.ndarray[Any, Any]
) -> None:
    array = (blocks * 2).persist()
    assert all(isinstance(value, ray.ObjectRef) for value in references(array))
    np.testing.assert_allclose((array + 1).sum(axis=0).compute(), (matrix * 2 + 1).sum(axis=0))
    table = pieces[pieces["value"] > 0.5].persist()
    kept = frame[frame["value"] > 0.5]
    assert_frame_equal(table.compute(), kept, check_dtype=False)
    sums = table.groupby("key")["value"].sum().compute().sort_index()
    assert_series_equal(sums, kept.groupby("key")["value"].sum())
    shuffled = table.shuffle("key").persist()
    assert_frame_equal(in_order(shuffled.compute()), in_order(kept), check_dtype=False)


def test_persist_of_several_at_once(blocks: Any, pieces: Any) -> None:
    array, table = dask.persist(blocks + 1, pieces[["key"]])
    total, keys = dask.compute(array.sum(), table["key"].sum())
    assert total == pytest.approx((blocks + 1).sum().compute())
    assert keys == pieces["key"].sum().compute()


def test_work_leaves_the_process() -> None:
    pids = [dask.delayed(os.getpid, pure=False)() for _ in range(4)]
    assert os.getpid() not in dask.compute(*pids)


def test_a_graph_computed_in_a_task_of_a_graph(blocks: Any, on_ray: Any) -> None:
    @dask.delayed  # type: ignore[untyped-decorator, unused-ignore]
    def inner(size: int) -> Any:
        import ray.util.dask

        return da.ones(size, chunks=10).sum().compute(scheduler=ray.util.dask.ray_dask_get)

    assert dask.delayed(sum)([inner(25), inner(35)]).compute() == 60


def test_bags() -> None:
    words = dask.bag.from_sequence(["a", "b", "a", "c", "b", "a"], npartitions=3)
    assert sorted(words.frequencies().compute()) == [("a", 3), ("b", 2), ("c", 1)]
    assert words.foldby(lambda word: word, lambda n, _: n + 1, 0, operator.add, 0).compute()


def test_callbacks_see_the_tasks_of_a_collection(blocks: Any, on_ray: Any, ray: Any) -> None:
    submitted, finished = [], []

    class Watch(on_ray.RayDaskCallback):  # type: ignore[misc, name-defined, unused-ignore]
        def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
            assert isinstance(object_ref, ray.ObjectRef)
            submitted.append(key)

        def _ray_finish(self, result: Any) -> None:
            finished.append(result)

    with Watch():
        total = blocks.sum().compute()
    assert len(submitted) >= blocks.npartitions and len(set(submitted)) == len(submitted)
    assert len(finished) == 1 and total == pytest.approx(float(np.squeeze(finished[0])))


def test_a_failing_partition_is_told_with_its_own_error(pieces: Any) -> None:
    def fail(part: Any) -> Any:
        raise KeyError("on purpose")

    failing = pieces["value"].map_partitions(fail, meta=("value", "f8"))
    with pytest.raises(KeyError, match="on purpose"):
        failing.compute()


def test_resources_of_tasks(blocks: Any) -> None:
    with dask.annotate(ray_remote_args={"num_cpus": 2}):
        total = blocks.sum()
    with dask.config.set({"optimization.fuse.active": False}):
        assert total.compute(optimize_graph=False) == pytest.approx(blocks.sum().compute())
