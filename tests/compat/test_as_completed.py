"""Results in the order in which they become ready: as_completed and map_unordered."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from .helpers import Ray


@pytest.fixture
def util(ray: Ray) -> Any:
    return importlib.import_module(f"{ray.__name__}.util")


def test_every_value_comes_once(ray: Ray, util: Any) -> None:
    refs = [ray.remote(lambda i=i: i).remote() for i in range(50)]
    assert sorted(util.as_completed(refs)) == list(range(50))


def test_what_is_ready_comes_before_what_is_not(ray: Ray, util: Any, gate: Any) -> None:
    door = gate("slow")
    slow = ray.remote(num_cpus=0)(lambda: door.wait()).remote()
    quick = [ray.put(i) for i in range(3)]
    seen = []
    for ref in util.as_completed([slow, *quick], chunk_size=1, yield_obj_refs=True):
        seen.append(ref)
        if len(seen) == 3:
            door.open()
    assert seen[3] == slow
    assert set(seen[:3]) == set(quick)


def test_an_error_is_raised_where_its_turn_comes(ray: Ray, util: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("no")

    good = ray.put(1)
    seen = []
    with pytest.raises(KeyError):
        for value in util.as_completed([good, fail.remote()], chunk_size=1):
            seen.append(value)
    assert seen == [1]


def test_nothing_gives_nothing(ray: Ray, util: Any) -> None:
    assert list(util.as_completed([])) == []
    assert list(util.map_unordered(ray.remote(lambda x: x), [])) == []


def test_map_unordered_covers_every_item(ray: Ray, util: Any) -> None:
    double = ray.remote(lambda x: 2 * x)
    values = util.map_unordered(double, range(40), backpressure_size=12)
    assert sorted(values) == [2 * i for i in range(40)]


@pytest.mark.parametrize("wrong", [0, -1])
def test_chunk_size_must_be_positive(ray: Ray, util: Any, wrong: int) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        list(util.as_completed([ray.put(1)], chunk_size=wrong))


def test_inside_a_task_the_cpu_is_given_back(ray: Ray, util: Any) -> None:
    """With as many such tasks as CPUs, their children would otherwise never run."""
    child = ray.remote(lambda i: i)
    name = ray.__name__

    @ray.remote
    def parent() -> int:
        completed = importlib.import_module(f"{name}.util").as_completed
        return sum(completed([child.remote(i) for i in range(5)]))

    assert ray.get([parent.remote() for _ in range(4)]) == [10] * 4


def test_a_limit_below_the_size_of_a_group(ray: Ray, util: Any) -> None:
    echo = ray.remote(lambda x: x)
    assert sorted(util.map_unordered(echo, range(25), backpressure_size=2)) == list(range(25))
    with pytest.raises(ValueError, match="must be positive"):
        list(util.map_unordered(echo, range(3), backpressure_size=0))


def test_a_group_is_what_is_there_when_its_time_is_over(ray: Ray, util: Any, gate: Any) -> None:
    door = gate("late")
    late = ray.remote(num_cpus=0)(lambda: door.wait()).remote()
    there = ray.put("there")
    seen = []
    for ref in util.as_completed([late, there], timeout=0.05, yield_obj_refs=True):
        seen.append(ref)
        door.open()
    assert seen == [there, late]


def test_map_unordered_with_the_options_of_wait(ray: Ray, util: Any) -> None:
    same = ray.remote(lambda x: x)
    found = util.map_unordered(same, range(9), timeout=1, fetch_local=False)
    assert sorted(found) == list(range(9))
