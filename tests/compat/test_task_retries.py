"""Retries of tasks: after crashes, after exceptions, how many attempts."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .helpers import AppError, Journal, Ray


def crash_until(journal: Journal, attempts: int) -> Any:
    """A function that ends its process until its `attempts`-th run."""

    def run(value: Any = "done") -> Any:
        if journal.add("attempt") < attempts:
            os._exit(1)
        return value

    return run


def raise_until(journal: Journal, attempts: int, error: type[Exception]) -> Any:
    def run() -> str:
        if journal.add("attempt") < attempts:
            raise error("again")
        return "done"

    return run


def test_crashed_task_is_retried_by_default(ray: Ray, journal: Journal) -> None:
    assert ray.get(ray.remote(crash_until(journal, 2)).remote()) == "done"
    assert len(journal.lines()) == 2


def test_default_is_three_retries(ray: Ray, journal: Journal) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(crash_until(journal, 99)).remote())
    assert len(journal.lines()) == 4


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_number_of_attempts_after_crashes(ray: Ray, journal: Journal, retries: int) -> None:
    task = ray.remote(max_retries=retries)(crash_until(journal, 99))
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(task.remote())
    assert len(journal.lines()) == retries + 1


def test_endless_retries(ray: Ray, journal: Journal) -> None:
    task = ray.remote(max_retries=-1)(crash_until(journal, 6))
    assert ray.get(task.remote()) == "done"
    assert len(journal.lines()) == 6


def test_option_overrides_the_decorator(ray: Ray, journal: Journal) -> None:
    task = ray.remote(max_retries=5)(crash_until(journal, 99))
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(task.options(max_retries=1).remote())
    assert len(journal.lines()) == 2


def test_arguments_are_the_same_at_every_attempt(ray: Ray, journal: Journal) -> None:
    task = ray.remote(crash_until(journal, 2))
    mutable = [1, 2]
    ref = task.remote(mutable)
    mutable.append(3)
    assert ray.get(ref) == [1, 2]


def test_reference_arguments_live_through_retries(ray: Ray, journal: Journal) -> None:
    task = ray.remote(crash_until(journal, 3))
    value = ray.put(b"v" * 300_000)
    ref = task.remote(value)
    del value
    assert len(ray.get(ref)) == 300_000


def test_exceptions_are_not_retried_by_default(ray: Ray, journal: Journal) -> None:
    with pytest.raises(ValueError):
        ray.get(ray.remote(raise_until(journal, 99, ValueError)).remote())
    assert len(journal.lines()) == 1


def test_all_exceptions_are_retried_with_true(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=True)(raise_until(journal, 3, ValueError))
    assert ray.get(task.remote()) == "done"
    assert len(journal.lines()) == 3


def test_number_of_attempts_after_exceptions(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=True, max_retries=2)(raise_until(journal, 99, KeyError))
    with pytest.raises(KeyError):
        ray.get(task.remote())
    assert len(journal.lines()) == 3


def test_listed_exceptions_are_retried(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=[KeyError, ValueError])(raise_until(journal, 2, ValueError))
    assert ray.get(task.remote()) == "done"
    assert len(journal.lines()) == 2


def test_subclasses_of_listed_exceptions_are_retried(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=[LookupError])(raise_until(journal, 2, KeyError))
    assert ray.get(task.remote()) == "done"


def test_other_exceptions_are_not_retried(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=[KeyError])(raise_until(journal, 99, ValueError))
    with pytest.raises(ValueError):
        ray.get(task.remote())
    assert len(journal.lines()) == 1


def test_listed_exception_class_of_the_program(ray: Ray, journal: Journal) -> None:
    @ray.remote(retry_exceptions=[AppError], max_retries=4)
    def run() -> str:
        if journal.add("attempt") < 3:
            raise AppError(1, "again")
        return "done"

    assert ray.get(run.remote()) == "done"


def test_crash_and_exception_share_one_budget(ray: Ray, journal: Journal) -> None:
    @ray.remote(retry_exceptions=True, max_retries=3)
    def run() -> None:
        if journal.add("attempt") % 2:
            os._exit(1)
        raise ValueError("even")

    with pytest.raises((ValueError, ray.exceptions.WorkerCrashedError)):
        ray.get(run.remote())
    assert len(journal.lines()) == 4


def test_retries_with_several_returns(ray: Ray, journal: Journal) -> None:
    @ray.remote(num_returns=2)
    def run() -> tuple[int, bytes]:
        if journal.add("attempt") < 2:
            os._exit(1)
        return 1, b"2" * 200_000

    first, second = ray.get(run.remote())
    assert (first, len(second)) == (1, 200_000)


def test_dependents_wait_for_the_retry(ray: Ray, journal: Journal) -> None:
    first = ray.remote(crash_until(journal, 2)).remote(20)
    assert ray.get(ray.remote(lambda x: x + 1).remote(first)) == 21


def test_retry_zero_with_exceptions(ray: Ray, journal: Journal) -> None:
    task = ray.remote(retry_exceptions=True, max_retries=0)(raise_until(journal, 2, ValueError))
    with pytest.raises(ValueError):
        ray.get(task.remote())
    assert len(journal.lines()) == 1


def test_crash_of_one_of_many(ray: Ray, journal: Journal) -> None:
    @ray.remote
    def run(i: int) -> int:
        if i == 7 and journal.add("attempt") < 2:
            os._exit(1)
        return i

    assert ray.get([run.remote(i) for i in range(20)]) == list(range(20))
