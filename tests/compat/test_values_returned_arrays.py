"""Large arrays that tasks and actors return: snapshots, whoever else keeps or changes them.

A result that nobody else has may become the stored value without a copy; nothing here may tell.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytest

from .helpers import Ray

COUNT = 100_000  # elements: 800 kB, far above what is copied as a matter of course


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", "i4", "c16", "?", "U7", "M8[s]"])
def test_fresh_arrays_arrive_as_they_are(ray: Ray, dtype: str, order: str) -> None:
    @ray.remote
    def make() -> Any:
        return np.arange(COUNT).astype(dtype).reshape(250, -1).copy(order=order)

    expected = np.arange(COUNT).astype(dtype).reshape(250, -1)
    for _ in range(4):
        got = ray.get(make.remote())
        assert got.dtype == expected.dtype
        assert np.isfortran(got) == (order == "F")
        assert np.array_equal(got, expected)
        assert not got.flags.writeable or got.dtype.kind == "M"  # has no buffer protocol


def test_an_actor_may_go_on_writing_to_what_it_returned(ray: Ray) -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.array = np.ones(COUNT) * 1

        def bump(self) -> Any:
            self.array += 1
            return self.array

    keeper = Keeper.remote()
    first, second = ray.get([keeper.bump.remote(), keeper.bump.remote()])
    assert first.min() == first.max() == 2
    assert second.min() == second.max() == 3


def test_a_view_that_is_kept_keeps_its_own_copy(ray: Ray) -> None:
    @ray.remote
    class Keeper:
        def make(self) -> Any:
            array = np.ones(COUNT) * 1
            self.view = array[10:20]
            self.memory = memoryview(array)
            return array

        def spoil(self) -> float:
            self.view[:] = 7
            return float(self.memory[10])

    keeper = Keeper.remote()
    array = ray.get(keeper.make.remote())
    assert ray.get(keeper.spoil.remote()) == 7
    assert array.min() == array.max() == 1


def test_a_slice_of_a_fresh_array(ray: Ray) -> None:
    half = ray.remote(lambda: (np.arange(COUNT) * 2)[::2])
    assert np.array_equal(ray.get(half.remote()), np.arange(0, 2 * COUNT, 4))


def test_one_array_as_two_results(ray: Ray) -> None:
    @ray.remote(num_returns=2)
    def twice() -> Any:
        array = np.arange(COUNT) + 1
        return array, array

    a, b = ray.get(list(twice.remote()))
    assert np.array_equal(a, np.arange(COUNT) + 1)
    assert np.array_equal(a, b)


def test_arrays_that_are_resized(ray: Ray) -> None:
    @ray.remote
    def grow() -> Any:
        array = np.arange(COUNT) * 3
        array.resize(2 * COUNT, refcheck=False)
        array[COUNT:] = -1
        array.resize(COUNT + 5, refcheck=False)
        return array

    got = ray.get(grow.remote())
    assert np.array_equal(got[:COUNT], np.arange(COUNT) * 3)
    assert list(got[COUNT:]) == [-1] * 5


def test_a_forked_child_and_its_parent_do_not_see_each_other_write(ray: Ray) -> None:
    @ray.remote
    def fork() -> Any:
        array = np.ones(COUNT) * 1
        context = multiprocessing.get_context("fork")
        go, seen = context.Event(), context.SimpleQueue()

        def child() -> None:
            array[:10] = 5
            go.wait(30)
            seen.put((float(array[0]), float(array[-1])))

        process = context.Process(target=child)
        process.start()
        array[-10:] = 9
        go.set()
        found = seen.get()
        process.join()
        return found, float(array[0]), float(array[-1]), array

    found, first, last, array = ray.get(fork.remote())
    assert found == (5.0, 1.0)
    assert (first, last) == (1.0, 9.0)
    assert array[0] == 1
    assert array[-1] == 9


def test_returned_after_a_fork(ray: Ray) -> None:
    @ray.remote
    def fork() -> Any:
        array = np.arange(COUNT) * 1
        process = multiprocessing.get_context("fork").Process(target=array.fill, args=(0,))
        process.start()
        process.join()
        array += 1
        return array

    for _ in range(3):
        assert np.array_equal(ray.get(fork.remote()), np.arange(COUNT) + 1)


def test_results_live_on_while_the_worker_makes_more(ray: Ray) -> None:
    make = ray.remote(lambda i: np.ones(COUNT) * i)
    kept = [ray.get(make.remote(i)) for i in range(12)]
    ray.get([make.remote(-1) for _ in range(20)])
    assert [float(a[0]) for a in kept] == [float(a[-1]) for a in kept] == list(range(12))
