"""put: what it takes, and that values are snapshots taken at the call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .helpers import Ray

SIZES = [0, 1, 100, 10_000, 99_999, 102_400, 102_401, 1_000_000]


def test_put_returns_a_reference(ray: Ray) -> None:
    assert isinstance(ray.put(1), ray.ObjectRef)


def test_put_of_none(ray: Ray) -> None:
    assert ray.get(ray.put(None)) is None


def test_put_of_a_reference_is_refused(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.put(ray.put(1))


def test_keywords(ray: Ray) -> None:
    assert ray.get(ray.put(3, _owner=None)) == 3
    assert ray.get(ray.put(value=4, _tensor_transport=None)) == 4
    assert ray.get(object_refs=ray.put(5), _use_object_store=True) == 5
    with pytest.raises(ValueError, match="_owner"):
        ray.put(6, _owner=6)


@pytest.mark.parametrize("wrong", [{}, {"other": 1}, {"value": 1, "other": None}])
def test_wrong_keywords(ray: Ray, wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="put"):
        ray.put(**wrong)
    with pytest.raises(TypeError, match="put"):
        ray.put(1, 2)
    with pytest.raises(TypeError, match="put"):
        ray.put(1, value=2)


def test_put_of_a_list_of_references(ray: Ray) -> None:
    inner = ray.put(1)
    assert ray.get(ray.put([inner])) == [inner]


def test_every_put_is_a_new_object(ray: Ray) -> None:
    value = "same"
    assert ray.put(value) != ray.put(value)


@pytest.mark.parametrize("size", SIZES)
def test_values_of_every_size(ray: Ray, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert ray.get(ray.put(value)) == value


@pytest.mark.parametrize("size", SIZES)
def test_results_of_every_size(ray: Ray, size: int) -> None:
    make = ray.remote(lambda n: b"r" * n)
    assert ray.get(make.remote(size)) == b"r" * size


@pytest.mark.parametrize("length", [3, 100_000])
def test_put_takes_a_snapshot_of_an_array(ray: Ray, length: int) -> None:
    array = np.ones(length)
    ref = ray.put(array)
    array[:] = 5
    assert ray.get(ref).sum() == length


@pytest.mark.parametrize("length", [3, 100_000])
def test_submit_takes_a_snapshot_of_an_array(ray: Ray, gate: Any, length: int) -> None:
    door = gate("door")
    blocker = ray.remote(num_cpus=0)(lambda: door.wait()).remote()
    array = np.ones(length)
    total = ray.remote(lambda _, a: float(a.sum())).remote(blocker, array)
    array[:] = 5
    door.open()
    assert ray.get(total) == length


def test_put_takes_a_snapshot_of_a_container(ray: Ray) -> None:
    items = [1, {"k": [2]}]
    ref = ray.put(items)
    items[1]["k"].append(3)  # type: ignore[index]
    items.clear()
    assert ray.get(ref) == [1, {"k": [2]}]


def test_actor_call_takes_a_snapshot(ray: Ray) -> None:
    @ray.remote
    class Keeper:
        def keep(self, value: Any) -> Any:
            return value

    keeper = Keeper.remote()
    refs = []
    state = [0]
    for i in range(10):
        state[0] = i
        refs.append(keeper.keep.remote(state))
    assert ray.get(refs) == [[i] for i in range(10)]


def test_result_of_an_actor_is_a_snapshot(ray: Ray) -> None:
    @ray.remote
    class Growing:
        def __init__(self) -> None:
            self.items: list[int] = []

        def grow(self) -> list[int]:
            self.items.append(len(self.items))
            return self.items

    growing = Growing.remote()
    refs = [growing.grow.remote() for _ in range(4)]
    assert ray.get(refs) == [list(range(i + 1)) for i in range(4)]


def test_array_result_of_an_actor_is_a_snapshot(ray: Ray) -> None:
    @ray.remote
    class Buffer:
        def __init__(self) -> None:
            self.array = np.zeros(50_000)

        def add(self) -> np.ndarray:
            self.array += 1
            return self.array

    buffer = Buffer.remote()
    first, second = buffer.add.remote(), buffer.add.remote()
    ray.get(second)
    assert ray.get(first)[0] == 1
    assert ray.get(second)[-1] == 2


def test_put_inside_a_task(ray: Ray) -> None:
    @ray.remote
    def put_two() -> list[Any]:
        return [ray.put(1), ray.put(b"x" * 500_000)]

    small, large = ray.get(put_two.remote())
    assert ray.get(small) == 1
    assert len(ray.get(large)) == 500_000


def test_put_needs_exactly_one_value(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.put()
    with pytest.raises(TypeError):
        ray.put(1, 2)
