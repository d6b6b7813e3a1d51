"""Dask's collections computed by tasks."""

from __future__ import annotations

import operator
import os

import numpy as np
import pytest

import whipray as ray

dask = pytest.importorskip("dask", reason="Dask is not installed")
da = pytest.importorskip("dask.array")
bag = pytest.importorskip("dask.bag")
on_ray = pytest.importorskip("whipray.util.dask")


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.init(num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()


@dask.delayed
def increment(x):
    return x + 1


@dask.delayed
def pid(x):
    return os.getpid()


def test_delayed():
    total = dask.delayed(sum)([increment(i) for i in range(10)])
    assert total.compute(scheduler=on_ray.ray_dask_get) == 55
    assert pid(1).compute(scheduler=on_ray.ray_dask_get) != os.getpid()


def test_a_graph_as_dict():
    graph = {"a": 1, "b": (operator.add, "a", 2), "c": (sum, ["a", "b"]), "d": "c"}
    assert on_ray.ray_dask_get(graph, "c") == 4
    assert on_ray.ray_dask_get(graph, [["b", "a"], ["d"]]) == ((3, 1), (4,))


def test_arrays_and_bags():
    data = np.arange(10_000.0).reshape(100, 100)
    array = da.from_array(data, chunks=30)
    with on_ray.enable_dask_on_ray():
        assert np.array_equal((array + array.T).compute(), data + data.T)
        assert array.mean().compute() == data.mean()
        numbers = bag.from_sequence(range(100), npartitions=4)
        assert numbers.map(lambda x: x * 2).filter(lambda x: x % 3 == 0).sum().compute() == 3366


def test_switching_it_on_and_off():
    assert dask.config.get("scheduler", None) is None
    on_ray.enable_dask_on_ray()
    assert dask.config.get("scheduler") is on_ray.ray_dask_get
    on_ray.disable_dask_on_ray()
    assert dask.config.get("scheduler") is None
    with on_ray.enable_dask_on_ray():
        assert pid(1).compute() != os.getpid()
    assert dask.config.get("scheduler") is None


def test_errors():
    @dask.delayed
    def fail(x):
        raise KeyError(x)

    with pytest.raises(KeyError, match="7"):
        increment(fail(7)).compute(scheduler=on_ray.ray_dask_get)


def test_persist_keeps_references():
    with on_ray.enable_dask_on_ray():
        (kept,) = dask.persist(increment(increment(1)))
        assert [type(value) for value in dict(kept.dask).values()] == [ray.ObjectRef]
        assert kept.compute() == 3
        assert increment(kept).compute() == 4
        array = da.ones((40, 40), chunks=20).persist()
        assert all(isinstance(v, ray.ObjectRef) for v in dict(array.__dask_graph__()).values())
        assert (array + 1).sum().compute() == 3200


def test_options_of_tasks():
    @dask.delayed
    def colour(_=None):
        return os.environ.get("DASK_COLOUR")

    def args(name):
        return {"runtime_env": {"env_vars": {"DASK_COLOUR": name}}}

    get = on_ray.ray_dask_get
    assert colour().compute(scheduler=get, ray_remote_args=args("red")) == "red"
    with dask.annotate(ray_remote_args=args("blue")):
        annotated = colour()
    assert annotated.compute(scheduler=get, ray_remote_args=args("red"), optimize_graph=False) == (
        "blue"
    )
    with pytest.raises(ValueError, match="ray_remote_args"):
        increment(1).compute(scheduler=get, resources={"CPU": 1})


def test_callbacks(tmp_path):
    seen = []
    log = str(tmp_path / "log")

    class Callback(on_ray.RayDaskCallback):
        def _ray_presubmit(self, task, key, deps):
            seen.append(("pre", key, sorted(deps)))

        def _ray_postsubmit(self, task, key, deps, object_ref):
            seen.append(("post", key, isinstance(object_ref, ray.ObjectRef)))

        @staticmethod
        def _ray_pretask(key, object_refs):
            return f"state of {key}"

        @staticmethod
        def _ray_posttask(key, result, pre_state):
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{key}={result} {pre_state}\n")

        def _ray_postsubmit_all(self, object_refs, dsk):
            seen.append(("all", sorted(dsk)))

        def _ray_finish(self, result):
            seen.append(("finish", result))

    graph = {"a": (operator.add, 1, 1), "b": (operator.mul, "a", 3)}
    with Callback():
        assert on_ray.ray_dask_get(graph, "b") == 6
    assert seen == [
        ("pre", "a", []),
        ("post", "a", True),
        ("pre", "b", ["a"]),
        ("post", "b", True),
        ("all", ["a", "b"]),
        ("finish", 6),
    ]
    with open(log, encoding="utf-8") as file:
        assert sorted(file.read().splitlines()) == ["a=2 state of a", "b=6 state of b"]
    on_ray.ray_dask_get(graph, "b")
    assert len(seen) == 6


def test_presubmit_may_give_the_result():
    instead = on_ray.RayDaskCallback(
        ray_presubmit=lambda task, key, deps: 10 if key == "a" else None
    )
    graph = {"a": (operator.add, 1, 1), "b": (operator.mul, "a", 3)}
    assert on_ray.ray_dask_get(graph, "b", ray_callbacks=[instead]) == 30


def test_the_progress_bar(capsys):
    with on_ray.ProgressBarCallback():
        assert on_ray.ray_dask_get({"a": (operator.add, 1, 1)}, "a") == 2
    assert "1/1" in capsys.readouterr().err


def test_rewriting_of_shuffles_is_left_to_dask() -> None:
    from whipray.util.dask import dataframe_optimize

    with pytest.warns(UserWarning, match="by Dask itself"):
        assert dataframe_optimize({}, []) is None
