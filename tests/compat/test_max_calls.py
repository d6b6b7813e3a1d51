"""max_calls: a worker that has run a function that often is replaced, and nothing is lost by it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .helpers import Journal, Ray, process_gone, wait_until


def pid(_: Any = None) -> int:
    return os.getpid()


def test_each_call_has_a_process_of_its_own(ray: Ray) -> None:
    one = ray.remote(max_calls=1)(pid)
    pids = [ray.get(one.remote()) for _ in range(4)]
    assert len(set(pids)) == 4
    wait_until(lambda: all(process_gone(each) for each in pids))


@pytest.mark.parametrize("calls", [2, 3])
def test_a_process_runs_no_more_calls_than_allowed(ray: Ray, calls: int) -> None:
    few = ray.remote(max_calls=calls)(pid)
    counts = Counter(ray.get(few.remote()) for _ in range(4 * calls))
    assert max(counts.values()) <= calls


def test_zero_stands_for_no_limit(ray: Ray) -> None:
    unlimited = ray.remote(max_calls=0)(pid)
    counts = Counter(ray.get(unlimited.remote()) for _ in range(30))
    assert max(counts.values()) > 3


def test_queued_tasks_are_not_lost(ray: Ray) -> None:
    one = ray.remote(max_calls=1)(lambda n: (n, os.getpid()))
    results = ray.get([one.remote(n) for n in range(40)])
    assert [n for n, _ in results] == list(range(40))
    assert len({process for _, process in results}) == 40


def test_other_functions_are_not_counted(ray: Ray) -> None:
    limited = ray.remote(max_calls=1000)(pid)
    other = ray.remote(lambda: os.getpid())
    counts = Counter(ray.get(other.remote()) for _ in range(20))
    assert ray.get(limited.remote()) and max(counts.values()) > 3


def test_a_call_that_raises_counts(ray: Ray) -> None:
    @ray.remote(max_calls=1)
    def fail() -> None:
        raise ValueError(os.getpid())

    seen = set()
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            ray.get(fail.remote())
        seen.add(caught.value.args[0])
    assert len(seen) == 3


def test_results_outlive_their_process(ray: Ray) -> None:
    @ray.remote(max_calls=1)
    def make(n: int) -> tuple[int, np.ndarray, list[Any]]:
        return os.getpid(), np.full(200_000, n), [ray.put(np.full(200_000, n + 1))]

    refs = [make.remote(n) for n in range(3)]
    for n, (_, array, (nested,)) in enumerate(ray.get(refs)):
        assert array[0] == n and ray.get(nested)[-1] == n + 1


def test_a_task_that_waits_for_its_children_ends_first(ray: Ray) -> None:
    child = ray.remote(max_calls=1)(lambda n: n * n)

    @ray.remote(max_calls=1)
    def parent() -> list[int]:
        return ray.get([child.remote(n) for n in range(5)])

    assert ray.get([parent.remote() for _ in range(3)]) == [[0, 1, 4, 9, 16]] * 3


def test_exit_handlers_run(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_calls=1)
    def register() -> int:
        import atexit

        atexit.register(journal.add, "exit handler")
        return os.getpid()

    process = ray.get(register.remote())
    wait_until(lambda: process_gone(process))
    assert journal.lines() == ["exit handler"]


@pytest.mark.parametrize("calls", [1, 2])
def test_a_process_that_ends_gives_its_gpu_back(
    start: Callable[..., Any], engine: Ray, calls: int
) -> None:
    start(num_gpus=1)

    @engine.remote(num_gpus=1, max_calls=calls)
    def use() -> tuple[list[Any], int]:
        return engine.get_gpu_ids(), os.getpid()

    results = engine.get([use.remote() for _ in range(6)])
    assert [[int(gpu) for gpu in ids] for ids, _ in results] == [[0]] * 6
    assert max(Counter(process for _, process in results).values()) <= calls
    wait_until(lambda: engine.available_resources().get("GPU") == 1)
