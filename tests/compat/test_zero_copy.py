"""Arrays from the store are read-only views, valid as long as any view lives."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import numpy as np
import pytest

from .helpers import Ray

LARGE = 200_000


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_result_is_read_only(ray: Ray) -> None:
    array = ray.get(ray.put(np.zeros(LARGE)))
    assert not array.flags.writeable
    with pytest.raises(ValueError):
        array[0] = 1


def test_small_result_is_read_only_too(ray: Ray) -> None:
    array = ray.get(ray.put(np.zeros(3)))
    with pytest.raises(ValueError):
        array += 1


def test_argument_is_read_only_in_the_task(ray: Ray) -> None:
    @ray.remote
    def attempt(array: np.ndarray) -> bool:
        try:
            array[0] = 1
        except ValueError:
            return True
        return False

    assert ray.get(attempt.remote(ray.put(np.zeros(LARGE))))


def test_write_attempt_fails_the_task_with_value_error(ray: Ray) -> None:
    @ray.remote
    def attempt(array: np.ndarray) -> None:
        array[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        ray.get(attempt.remote(np.zeros(LARGE)))


def test_copy_is_writable_and_independent(ray: Ray) -> None:
    ref = ray.put(np.zeros(LARGE))
    copy = ray.get(ref).copy()
    copy[0] = 1
    assert ray.get(ref)[0] == 0


def test_the_flag_cannot_be_set_back(ray: Ray) -> None:
    array = ray.get(ray.put(np.zeros(LARGE)))
    with pytest.raises(ValueError):
        array.flags.writeable = True


def test_two_gets_share_the_memory(ray: Ray) -> None:
    ref = ray.put(np.zeros(LARGE))
    first, second = ray.get([ref, ref])
    assert address(first) == address(second) == address(ray.get(ref))


def test_data_is_aligned_to_64_bytes(ray: Ray) -> None:
    for length in (LARGE, LARGE + 1, LARGE + 13):
        for dtype in ("u1", "f8"):
            array = ray.get(ray.put(np.zeros(length, dtype=dtype)))
            assert address(array) % 64 == 0


def test_arrays_inside_one_value_are_aligned(ray: Ray) -> None:
    value = {"a": np.zeros(LARGE + 1, "u1"), "b": [np.ones(LARGE + 3, "u1")], "c": np.ones(LARGE)}
    back = ray.get(ray.put(value))
    assert [address(a) % 64 for a in (back["a"], back["b"][0], back["c"])] == [0, 0, 0]


def test_view_outlives_its_reference(ray: Ray) -> None:
    ref = ray.put(np.arange(LARGE))
    array = ray.get(ref)
    del ref
    gc.collect()
    fill = [ray.put(np.full(LARGE, i)) for i in range(20)]
    del fill
    assert array.sum() == sum(range(LARGE))


def test_slice_of_a_view_outlives_the_view(ray: Ray) -> None:
    part = ray.get(ray.put(np.arange(LARGE)))[10:20]
    gc.collect()
    for i in range(20):
        ray.get(ray.put(np.full(LARGE, -i)))
    assert list(part) == list(range(10, 20))


def test_memoryview_of_a_view_outlives_everything_else(ray: Ray) -> None:
    view = memoryview(ray.get(ray.put(np.arange(LARGE, dtype="i8"))))
    gc.collect()
    for i in range(20):
        ray.get(ray.put(np.full(LARGE, -i)))
    assert view[5] == 5
    assert view.readonly


def test_argument_kept_by_an_actor_stays_valid(ray: Ray) -> None:
    @ray.remote
    class Keeper:
        def keep(self, array: np.ndarray) -> None:
            self.array = array

        def total(self) -> int:
            return int(self.array.sum())

    keeper = Keeper.remote()
    ray.get(keeper.keep.remote(ray.put(np.arange(LARGE))))
    for i in range(20):
        ray.get(ray.put(np.full(LARGE, -i)))
    assert ray.get(keeper.total.remote()) == sum(range(LARGE))


def test_view_returned_as_a_result(ray: Ray) -> None:
    ref = ray.put(np.arange(LARGE))
    half = ray.remote(lambda array: array[: LARGE // 2])
    assert ray.get(half.remote(ref)).sum() == sum(range(LARGE // 2))


def test_view_put_again(ray: Ray) -> None:
    array = ray.get(ray.put(np.arange(LARGE)))
    again = ray.get(ray.put(array))
    assert np.array_equal(array, again)


def test_view_can_be_pickled_by_the_program(ray: Ray) -> None:
    array = ray.get(ray.put(np.arange(LARGE)))
    assert np.array_equal(pickle.loads(pickle.dumps(array, protocol=5)), array)


def test_result_array_of_a_task(ray: Ray) -> None:
    @ray.remote
    def make() -> np.ndarray:
        return np.full((300, 300), 2.0)

    array = ray.get(make.remote())
    assert array.sum() == 180_000
    with pytest.raises(ValueError):
        array[0, 0] = 1


def test_large_bytes_are_equal_after_the_source_is_gone(ray: Ray) -> None:
    ref = ray.put(bytes(range(256)) * 4000)
    value = ray.get(ref)
    del ref
    gc.collect()
    for i in range(10):
        ray.get(ray.put(bytes([i]) * 1_024_000))
    assert value == bytes(range(256)) * 4000


def test_pickle_buffers_of_a_class_of_the_program(ray: Ray) -> None:
    class Framed:
        def __init__(self, data: Any) -> None:
            self.data = data

        def __reduce_ex__(self, protocol: int) -> Any:
            return Framed, (pickle.PickleBuffer(self.data),)

    back = ray.get(ray.put(Framed(b"frame" * 100_000)))
    assert bytes(back.data) == b"frame" * 100_000


def test_many_views_at_once(ray: Ray) -> None:
    arrays = ray.get([ray.put(np.full(LARGE, i)) for i in range(30)])
    assert [int(array[0]) for array in arrays] == list(range(30))
    assert all(int(array[-1]) == i for i, array in enumerate(arrays))
