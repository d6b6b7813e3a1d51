"""wait: counts, order, timeouts, refused arguments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from .helpers import Gate, Ray


@pytest.fixture
def pending(ray: Ray, gate: Any) -> Iterator[tuple[Any, Gate]]:
    """A reference that stays pending until its gate opens."""
    door = gate("pending")
    ref = ray.remote(num_cpus=0)(lambda: door.wait()).remote()
    yield ref, door
    door.open()
    ray.get(ref)


def test_wait_returns_two_lists(ray: Ray) -> None:
    ref = ray.put(1)
    assert ray.wait([ref]) == ([ref], [])


def test_wait_for_nothing(ray: Ray) -> None:
    assert ray.wait([]) == ([], [])


def test_default_is_one_ready_reference(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(3)]
    ready, rest = ray.wait(refs)
    assert len(ready) == 1
    assert len(rest) == 2
    assert set(ready + rest) == set(refs)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_ready_has_at_most_num_returns(ray: Ray, count: int) -> None:
    refs = [ray.put(i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=count)
    assert len(ready) == count
    assert len(rest) == 5 - count


def test_both_lists_keep_the_order_given(ray: Ray, pending: tuple[Any, Gate]) -> None:
    refs = [ray.put(i) for i in range(6)]
    ready, rest = ray.wait(refs, num_returns=6)
    assert ready == refs
    assert rest == []
    mixed = [refs[3], pending[0], refs[0], refs[5]]
    ready, rest = ray.wait(mixed, num_returns=3)
    assert ready == [refs[3], refs[0], refs[5]]
    assert rest == [pending[0]]


def test_wait_for_the_one_that_finishes(ray: Ray, pending: tuple[Any, Gate]) -> None:
    quick = ray.remote(num_cpus=0)(lambda: 1).remote()
    assert ray.wait([pending[0], quick], num_returns=1) == ([quick], [pending[0]])


def test_timeout_returns_what_is_ready(ray: Ray, pending: tuple[Any, Gate]) -> None:
    done = ray.put(1)
    assert ray.wait([pending[0], done], num_returns=2, timeout=0.05) == ([done], [pending[0]])


def test_timeout_zero_looks_only(ray: Ray, pending: tuple[Any, Gate]) -> None:
    assert ray.wait([pending[0]], timeout=0) == ([], [pending[0]])
    done = ray.put(1)
    assert ray.wait([done], timeout=0) == ([done], [])


def test_wait_without_timeout_blocks_until_ready(ray: Ray, pending: tuple[Any, Gate]) -> None:
    ref, door = pending
    opener = ray.remote(num_cpus=0)(lambda: door.open()).remote()
    assert ray.wait([ref]) == ([ref], [])
    ray.get(opener)


def test_failed_task_counts_as_ready(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError

    ref = fail.remote()
    assert ray.wait([ref]) == ([ref], [])


def test_several_failed_and_finished_tasks(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def maybe(i: int) -> int:
        if i % 2:
            raise ValueError(i)
        return i

    refs = [maybe.remote(i) for i in range(6)]
    assert ray.wait(refs, num_returns=6) == (refs, [])


def test_loop_until_all_are_done(ray: Ray) -> None:
    left = [ray.remote(lambda i=i: i).remote() for i in range(20)]
    seen = set()
    while left:
        ready, left = ray.wait(left)
        seen.update(ray.get(ready))
    assert seen == set(range(20))


def test_duplicates_are_refused(ray: Ray) -> None:
    ref = ray.put(1)
    with pytest.raises(ValueError):
        ray.wait([ref, ref])


def test_duplicates_are_refused_in_any_order(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(4)]
    for order in itertools.product(refs, repeat=4):
        if len(set(order)) == len(order):
            assert ray.wait(list(order), num_returns=4) == (list(order), [])
        else:
            with pytest.raises(ValueError, match="unique"):
                ray.wait(list(order), num_returns=4)


@pytest.mark.parametrize("count", [0, -1, 3])
def test_num_returns_out_of_range_is_refused(ray: Ray, count: int) -> None:
    with pytest.raises(ValueError):
        ray.wait([ray.put(1), ray.put(2)], num_returns=count)


TAKES = r"wait\(\) expected a list of ray.ObjectRef or ray.ObjectRefGenerator"


@pytest.mark.parametrize("count", [True, 1.0], ids=repr)
def test_num_returns_may_be_what_equals_a_number(ray: Ray, count: Any) -> None:
    ready, rest = ray.wait([ray.put(1), ray.put(2)], num_returns=count)
    assert len(ready) == len(rest) == 1


def test_single_reference_instead_of_a_list_is_refused(ray: Ray) -> None:
    with pytest.raises(TypeError, match=f"{TAKES}, got a single"):
        ray.wait(ray.put(1))


@pytest.mark.parametrize("make", [tuple, set, iter], ids=["tuple", "set", "iterator"])
def test_other_containers_are_refused(ray: Ray, make: Any) -> None:
    with pytest.raises(TypeError, match=f"{TAKES}, got <class"):
        ray.wait(make([ray.put(1)]))


def test_list_of_something_else_is_refused(ray: Ray) -> None:
    with pytest.raises(TypeError, match=f"{TAKES}, got list containing <class 'int'>"):
        ray.wait([1, 2])


def test_negative_timeout_is_refused(ray: Ray) -> None:
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], timeout=-1)


def test_options_are_keyword_only(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.wait([ray.put(1)], 1)


def test_fetch_local_false_is_accepted(ray: Ray) -> None:
    ref = ray.put(1)
    assert ray.wait([ref], fetch_local=False) == ([ref], [])


def test_wait_on_a_thousand_references(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(1000)]
    ready, rest = ray.wait(refs, num_returns=1000)
    assert ready == refs
    assert rest == []


def test_wait_inside_a_task(ray: Ray) -> None:
    @ray.remote
    def outer() -> tuple[int, int]:
        refs = [ray.put(i) for i in range(3)] + [ray.remote(lambda: 3).remote()]
        ready, rest = ray.wait(refs, num_returns=4)
        return len(ready), len(rest)

    assert ray.get(outer.remote()) == (4, 0)


def test_wait_leaves_the_given_list_alone(ray: Ray) -> None:
    refs = [ray.put(1), ray.put(2)]
    before = list(refs)
    ray.wait(refs)
    assert refs == before
