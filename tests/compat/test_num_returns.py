"""num_returns of 0, 1 and n, and results that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until


def test_one_return_is_one_reference(ray: Ray) -> None:
    ref = ray.remote(num_returns=1)(lambda: (1, 2)).remote()
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == (1, 2)


def test_no_returns_is_none_and_the_task_runs(ray: Ray, journal: Journal) -> None:
    assert ray.remote(num_returns=0)(lambda: journal.add("ran")).remote() is None
    assert wait_until(journal.lines) == ["ran"]


@pytest.mark.parametrize("count", [2, 3, 40])
def test_n_returns_are_a_list_of_references(ray: Ray, count: int) -> None:
    refs = ray.remote(num_returns=count)(lambda: range(count)).remote()
    assert isinstance(refs, list)
    assert ray.get(refs) == list(range(count))


@pytest.mark.parametrize(
    "values", [[1, 2], (1, 2), {1: "a", 2: "b"}.keys(), "12", range(1, 3)], ids=repr
)
def test_any_sequence_fills_the_returns(ray: Ray, values: Any) -> None:
    items = list(values)
    kind = type(values).__name__
    made = {"list": items, "tuple": tuple(items), "str": "12", "range": range(1, 3)}
    result = made.get(kind, items)
    assert ray.get(ray.remote(num_returns=2)(lambda: result).remote()) == items


@pytest.mark.parametrize("result", [(1,), (1, 2, 3), ()], ids=repr)
def test_wrong_number_of_values_is_a_value_error(ray: Ray, result: tuple[int, ...]) -> None:
    refs = ray.remote(num_returns=2, max_retries=0)(lambda: result).remote()
    for ref in refs:
        with pytest.raises(ValueError):
            ray.get(ref)


def test_single_value_for_two_returns_is_an_error(ray: Ray) -> None:
    refs = ray.remote(num_returns=2, max_retries=0)(lambda: 5).remote()
    for ref in refs:
        with pytest.raises((TypeError, ValueError)):
            ray.get(ref)


def test_error_reaches_every_return(ray: Ray) -> None:
    @ray.remote(num_returns=3)
    def fail() -> None:
        raise KeyError("all")

    for ref in fail.remote():
        with pytest.raises(KeyError):
            ray.get(ref)


def test_returns_of_very_different_size(ray: Ray) -> None:
    small, large = ray.remote(num_returns=2)(lambda: ("s", b"l" * 1_000_000)).remote()
    assert ray.get(small) == "s"
    assert len(ray.get(large)) == 1_000_000


def test_returns_can_be_used_independently(ray: Ray) -> None:
    first, second = ray.remote(num_returns=2)(lambda: (1, 2)).remote()
    del first
    assert ray.get(ray.remote(lambda x: x * 10).remote(second)) == 20


def test_method_with_no_returns(ray: Ray, journal: Journal) -> None:
    class Log:
        def add(self, text: str) -> None:
            journal.add(text)

    log = ray.remote(Log).remote()
    assert log.add.options(num_returns=0).remote("called") is None
    assert wait_until(journal.lines) == ["called"]


def test_method_with_wrong_number_of_values(ray: Ray) -> None:
    class Pairs:
        def three(self) -> tuple[int, int, int]:
            return 1, 2, 3

    actor = ray.remote(Pairs).remote()
    for ref in actor.three.options(num_returns=2).remote():
        with pytest.raises(ValueError):
            ray.get(ref)
    assert ray.get(actor.three.remote()) == (1, 2, 3)


def test_generator_fills_a_fixed_number_of_returns(ray: Ray) -> None:
    @ray.remote(num_returns=3)
    def count() -> Any:
        yield from range(3)

    assert ray.get(count.remote()) == [0, 1, 2]


def test_returned_none_fills_one_return(ray: Ray) -> None:
    assert ray.get(ray.remote(lambda: None).remote()) is None
