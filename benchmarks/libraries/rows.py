"""The programs: each times its steps from the start of its process, and checks their results.

What they check against (pandas, NumPy, the library without ray) is computed after the last step.
"""

from __future__ import annotations

import contextlib
import csv
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Libraries that import ray")
KEYS = 50


def figures(*steps: str) -> tuple[Figure, ...]:
    return tuple(Figure(name, "s", "lower") for name in ("start", *steps, "shutdown", "in all"))


class Steps:
    """A clock that has run since the start of this process."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._last = started_at()

    def done(self, name: str) -> None:
        """End the step `name`, which began with the end of the one before."""
        now = boot_clock()
        self._seconds[name] = now - self._last
        self._last = now

    @contextlib.contextmanager
    def untimed(self) -> Iterator[None]:
        start = boot_clock()
        yield
        self._last += boot_clock() - start

    def values(self) -> Values:
        whole = sum(self._seconds.values())
        return {name: [taken] for name, taken in (*self._seconds.items(), ("in all", whole))}


def boot_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def started_at() -> float:
    """When the kernel started this process, to a tick of 10 ms, on the clock above."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def table_file(rows: int) -> Iterator[Path]:
    """A CSV file with the columns key, value and word."""
    numbers = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="wrb-") as folder:
        path = Path(folder) / "table.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["key", "value", "word"])
            for _ in range(rows):
                row = numbers.randrange(KEYS), numbers.random(), numbers.choice("abc")
                writer.writerow(row)
        yield path


def weight(row: Any) -> Any:
    return row["key"] * 10 + row["value"]


@SECTION.row(
    "modin",
    "Modin",
    "200,000 rows: read_csv, aggregates by key, merge with 50 names, apply a function to each row",
    *figures("read_csv", "groupby", "merge", "apply"),
    session="none",
    timeout=600,
)
def modin(bench: Bench) -> Values:
    steps = Steps()
    os.environ.update(MODIN_ENGINE="ray", MODIN_CPUS=str(bench.plan.num_cpus))
    with contextlib.ExitStack() as files:
        with steps.untimed():
            path = files.enter_context(table_file(bench.count(200_000, 200_000)))
        bench.ray.init(**bench.init_options(log_to_driver=False))
        import modin.pandas as pandas_on_ray
        from modin.utils import execute

        steps.done("start")
        frame = pandas_on_ray.read_csv(path)
        execute(frame)
        steps.done("read_csv")
        sums = frame.groupby("key")["value"].agg(["sum", "mean", "count"]).modin.to_pandas()
        steps.done("groupby")
        names = {"key": range(KEYS), "name": [f"name {key}" for key in range(KEYS)]}
        merged = frame.merge(pandas_on_ray.DataFrame(names), on="key").modin.to_pandas()
        steps.done("merge")
        weights = frame.apply(weight, axis=1).modin.to_pandas()
        steps.done("apply")
        bench.ray.shutdown()
        steps.done("shutdown")

        import pandas
        from pandas.testing import assert_frame_equal, assert_series_equal

        plain = pandas.read_csv(path)
    assert_frame_equal(sums, plain.groupby("key")["value"].agg(["sum", "mean", "count"]))
    assert_frame_equal(merged, plain.merge(pandas.DataFrame(names), on="key"))
    assert_series_equal(weights, plain.apply(weight, axis=1), check_names=False)
    return steps.values()


@SECTION.row(
    "dask-array",
    "Dask arrays",
    "2000 by 2000 numbers in 16 chunks: element by element and mean, product, singular values",
    *figures("elements", "product", "svd"),
    session="none",
    timeout=600,
)
def dask_array(bench: Bench) -> Values:
    steps = Steps()
    bench.ray.init(**bench.init_options(log_to_driver=False))
    import dask.array
    import numpy
    from ray.util.dask import enable_dask_on_ray

    enable_dask_on_ray()
    steps.done("start")
    size = bench.count(2000, 2000)
    with steps.untimed():
        data = numpy.random.default_rng(7).random((size, size))
    chunked = dask.array.from_array(data, chunks=size // 4)
    means = (dask.array.sin(chunked) ** 2 + chunked.T).mean(axis=0).compute()
    steps.done("elements")
    product = (chunked @ chunked.T).sum(axis=1).compute()
    steps.done("product")
    tall = chunked[:, : size // 10].rechunk((size // 4, size // 10))
    singular = dask.array.linalg.svd(tall)[1].compute()
    steps.done("svd")
    bench.ray.shutdown()
    steps.done("shutdown")

    expected = numpy.linalg.svd(data[:, : size // 10], compute_uv=False)
    numpy.testing.assert_allclose(means, (numpy.sin(data) ** 2 + data.T).mean(axis=0))
    numpy.testing.assert_allclose(product, (data @ data.T).sum(axis=1))
    numpy.testing.assert_allclose(singular, expected)
    return steps.values()


@SECTION.row(
    "dask-dataframe",
    "Dask data frames",
    "200,000 rows in 8 partitions: read_csv and sums by key, merge with 50 names, sort by value",
    *figures("groupby", "merge", "sort"),
    session="none",
    timeout=600,
)
def dask_dataframe(bench: Bench) -> Values:
    steps = Steps()
    with contextlib.ExitStack() as files:
        with steps.untimed():
            path = files.enter_context(table_file(bench.count(200_000, 200_000)))
        bench.ray.init(**bench.init_options(log_to_driver=False))
        import dask.dataframe
        import pandas
        from ray.util.dask import enable_dask_on_ray

        enable_dask_on_ray()
        steps.done("start")
        frame = dask.dataframe.read_csv(str(path), blocksize=path.stat().st_size // 8 + 1)
        sums = frame.groupby("key")["value"].sum().compute()
        steps.done("groupby")
        keys = range(KEYS)
        names = pandas.DataFrame({"key": keys, "name": [f"name {key}" for key in keys]})
        counts = frame.merge(names, on="key").groupby("name")["value"].count().compute()
        steps.done("merge")
        ordered = frame.sort_values("value").compute()
        steps.done("sort")
        bench.ray.shutdown()
        steps.done("shutdown")
        plain = pandas.read_csv(path)
    from pandas.testing import assert_frame_equal, assert_series_equal

    assert_series_equal(sums.sort_index(), plain.groupby("key")["value"].sum())
    expected = plain.merge(names, on="key").groupby("name")["value"].count()
    assert_series_equal(counts.sort_index(), expected, check_index_type=False)
    in_order = plain.sort_values("value").reset_index(drop=True)
    assert_frame_equal(ordered.reset_index(drop=True), in_order, check_dtype=False)
    return steps.values()


@SECTION.row(
    "scikit-learn",
    "joblib and scikit-learn",
    "GridSearchCV of a support vector machine on 1,797 digits: 12 settings, 3 folds",
    *figures("search"),
    session="none",
    timeout=600,
)
def scikit_learn(bench: Bench) -> Values:
    steps = Steps()
    bench.ray.init(**bench.init_options(log_to_driver=False))
    import joblib
    import numpy
    from ray.util.joblib import register_ray
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    register_ray()
    steps.done("start")
    data, target = (part[: bench.count(1797, 1797)] for part in load_digits(return_X_y=True))
    search = GridSearchCV(SVC(), {"C": [0.1, 1, 10], "gamma": [1e-4, 3e-4, 1e-3, 3e-3]}, cv=3)
    with joblib.parallel_config(backend="ray", n_jobs=bench.plan.num_cpus):
        scores = search.fit(data, target).cv_results_["mean_test_score"]
    steps.done("search")
    bench.ray.shutdown()
    steps.done("shutdown")
    numpy.testing.assert_allclose(scores, search.fit(data, target).cv_results_["mean_test_score"])
    return steps.values()


ROWS = tuple(SECTION.rows)
