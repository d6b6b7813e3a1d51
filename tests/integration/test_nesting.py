"""Tasks that wait for tasks of their own keep their processes: few of them are there at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import whipray as ray
from tests.crash.test_failpoints import HOSTILE
from whipray import _core

PARENTS = 200
FEW_OVERTAKE = pytest.mark.skipif(HOSTILE, reason="in this build only 4 tasks at a time overtake")


@pytest.fixture(scope="module", autouse=True)
def _session() -> Iterator[None]:
    ray.init(num_cpus=1)
    yield
    ray.shutdown()


def exported() -> int:
    return int(_core.audit()["functions"])


def processes(function: Any) -> int:
    """How many processes it takes to run many calls of a function that lists its pids."""
    found = ray.get([function.remote() for _ in range(PARENTS)])
    return len({pid for pids in found for pid in pids})


@ray.remote
def leaf(*needed: Any) -> list[int]:
    return [os.getpid()]


@ray.remote
def stem() -> list[int]:
    return [os.getpid(), *ray.get(leaf.remote())]


@FEW_OVERTAKE
@pytest.mark.parametrize("way", ["get", "deep", "several", "wait", "arguments", "stream", "shape"])
def test_a_child_overtakes_parents_that_have_not_started(way: str) -> None:
    @ray.remote
    def items() -> Iterator[list[int]]:
        yield [os.getpid()]
        yield [os.getpid()]

    @ray.remote
    def parent() -> list[int]:
        if way == "get":
            more = [ray.get(leaf.remote())]
        elif way == "deep":
            more = [ray.get(stem.remote())]
        elif way == "several":
            more = ray.get([leaf.remote() for _ in range(10)])
        elif way == "wait":
            ready, _ = ray.wait([leaf.remote() for _ in range(3)])
            more = ray.get(ready)
        elif way == "arguments":
            more = [ray.get(leaf.remote(leaf.remote(), [leaf.remote()]))]
        elif way == "stream":
            more = [ray.get(ref) for ref in items.remote()]
        else:
            more = [ray.get(leaf.options(num_cpus=0.5).remote())]
        return [os.getpid(), *(pid for pids in more for pid in pids)]

    assert processes(parent) < PARENTS / 2


@FEW_OVERTAKE
def test_an_actor_that_a_task_waits_for_is_created_first() -> None:
    @ray.remote
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    @ray.remote
    def parent() -> list[int]:
        actor = Actor.remote()
        ray.get(actor.pid.remote())
        return [os.getpid()]

    assert processes(parent) < PARENTS / 2


@ray.remote(max_calls=1)
def in_a_process_of_its_own(n: int) -> int:
    """Its worker exports `leaf` and an alias of it, and is gone."""
    return len(ray.get([leaf.remote(), leaf.options(retry_exceptions=[KeyError]).remote()])) + n


def test_the_functions_of_short_lived_workers_are_kept_once() -> None:
    assert ray.get(in_a_process_of_its_own.remote(0)) == 2
    before = exported()
    assert [ray.get(in_a_process_of_its_own.remote(n)) for n in range(12)] == list(range(2, 14))
    assert exported() - before < 12  # of 24: a pickle depends on what else its process has loaded
