"""num_returns of 0, 1 and n, and results that do not fit."""

from __future__ import annotations

import threading
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


def outcomes(ray: Ray, refs: Any) -> list[Any]:
    """The values, and the types of the users' errors."""
    found = []
    for ref in refs if isinstance(refs, list) else [refs]:
        try:
            found.append(ray.get(ref))
        except ray.exceptions.RayTaskError as error:
            found.append(type(error.cause))
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("yields", range(5))
def test_generator_fills_what_was_asked(ray: Ray, count: int, yields: int) -> None:
    def produce() -> Any:
        yield from range(yields)

    given = list(range(min(count, yields)))
    expected = given + [ValueError] * (count - len(given))
    assert outcomes(ray, ray.remote(num_returns=count)(produce).remote()) == expected


def test_endless_generator_is_asked_for_no_more_than_fits(ray: Ray) -> None:
    def produce() -> Any:
        number = 0
        while True:
            yield number
            number += 1

    assert ray.get(ray.remote(num_returns=2)(produce).remote()) == [0, 1]


@pytest.mark.parametrize("yields", range(4))
def test_values_before_the_error_of_a_generator_are_kept(
    ray: Ray, yields: int, journal: Journal
) -> None:
    def produce() -> Any:
        journal.add("run")
        yield from range(yields)
        raise KeyError("middle")

    refs = ray.remote(num_returns=2, retry_exceptions=True)(produce).remote()
    assert outcomes(ray, refs) == [0, 1][:yields] + [KeyError] * (2 - min(yields, 2))
    assert journal.lines() == ["run"]


def test_values_before_one_that_can_not_be_pickled_are_kept(ray: Ray) -> None:
    task = ray.remote(num_returns=3)(lambda: [1, threading.Lock(), 3])
    assert outcomes(ray, task.remote()) == [1, TypeError, TypeError]


@pytest.mark.parametrize("kind", ["none", "number", "map"])
def test_result_without_a_length_is_a_type_error(ray: Ray, kind: str) -> None:
    def give() -> Any:
        return {"none": None, "number": 3, "map": map(str, range(2))}[kind]

    assert outcomes(ray, ray.remote(num_returns=2)(give).remote()) == [TypeError, TypeError]


def test_returned_generator_stands_for_its_first_value(ray: Ray) -> None:
    def give() -> Any:
        return (i for i in range(5, 8))

    assert outcomes(ray, ray.remote(give).remote()) == [5]
    assert outcomes(ray, ray.remote(num_returns=2)(give).remote()) == [5, 6]


@pytest.mark.parametrize("threads", [1, 2])
def test_generator_methods_fill_what_was_asked(ray: Ray, threads: int) -> None:
    @ray.remote(max_concurrency=threads)
    class Source:
        @ray.method(num_returns=2)
        def two(self, yields: int) -> Any:
            yield from range(yields)

        @ray.method(num_returns=1)
        def one(self, yields: int) -> Any:
            yield from range(yields)

    source = Source.remote()
    assert outcomes(ray, source.two.remote(1)) == [0, ValueError]
    assert outcomes(ray, source.two.remote(3)) == [0, 1]
    assert outcomes(ray, source.one.remote(0)) == [ValueError]
    assert outcomes(ray, source.one.remote(3)) == [0]


def test_async_methods_with_several_returns(ray: Ray) -> None:
    @ray.remote
    class Source:
        @ray.method(num_returns=2)
        async def pair(self, given: int) -> Any:
            return list(range(given))

        @ray.method(num_returns=2)
        async def produce(self) -> Any:
            yield 1

    source = Source.remote()
    assert outcomes(ray, source.pair.remote(2)) == [0, 1]
    assert outcomes(ray, source.pair.remote(3)) == [ValueError, ValueError]
    assert outcomes(ray, source.produce.remote()) == [TypeError, TypeError]
