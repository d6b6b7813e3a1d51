"""get: one reference, lists, timeouts, order and errors."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Ray


def test_get_of_one_reference(ray: Ray) -> None:
    assert ray.get(ray.put({"k": [1]})) == {"k": [1]}


def test_get_of_a_list_keeps_the_order(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(50)]
    assert ray.get(refs[::-1]) == list(range(49, -1, -1))


def test_get_of_an_empty_list(ray: Ray) -> None:
    assert ray.get([]) == []


def test_get_of_one_reference_several_times(ray: Ray) -> None:
    ref = ray.put("v")
    assert ray.get([ref, ref, ref]) == ["v", "v", "v"]
    assert ray.get(ref) == "v"


def test_each_get_of_a_mutable_value_is_a_new_object(ray: Ray) -> None:
    ref = ray.put([1, 2])
    first = ray.get(ref)
    first.append(3)
    assert ray.get(ref) == [1, 2]


@pytest.mark.parametrize(
    "wrong", [5, "text", None, {"a": 1}, object()], ids=lambda value: type(value).__name__
)
def test_get_of_something_else_is_a_value_error(ray: Ray, wrong: object) -> None:
    with pytest.raises(ValueError):
        ray.get(wrong)


def test_get_of_a_tuple_is_a_value_error(ray: Ray) -> None:
    with pytest.raises(ValueError):
        ray.get((ray.put(1), ray.put(2)))


def test_get_of_a_list_with_something_else_is_an_error(ray: Ray) -> None:
    with pytest.raises((TypeError, ValueError)):
        ray.get([ray.put(1), 2])


def test_get_accepts_refs_by_keyword(ray: Ray) -> None:
    assert ray.get([ray.put(1)], timeout=10) == [1]


def test_timeout_is_keyword_only(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.get(ray.put(1), 1)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout_on_pending_work(ray: Ray, gate: Any, timeout: float) -> None:
    door = gate("door")
    ref = ray.remote(lambda: door.wait()).remote()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(ref, timeout=timeout)
    door.open()
    assert ray.get(ref) is None


def test_timeout_error_is_also_the_builtin_one(ray: Ray, gate: Any) -> None:
    door = gate("door")
    ref = ray.remote(lambda: door.wait()).remote()
    with pytest.raises(TimeoutError):
        ray.get([ray.put(1), ref], timeout=0.01)
    door.open()
    ray.get(ref)


def test_timeout_zero_returns_what_is_there(ray: Ray) -> None:
    done = ray.remote(lambda: "done").remote()
    ray.wait([done])
    assert ray.get(done, timeout=0) == "done"
    assert ray.get([ray.put(1), done], timeout=0) == [1, "done"]


@pytest.mark.ray_differs("a negative timeout other than -1 aborts the whole process there")
def test_negative_timeout_is_refused(ray: Ray, gate: Any) -> None:
    door = gate("door")
    ref = ray.remote(lambda: door.wait()).remote()
    with pytest.raises(ValueError):
        ray.get(ref, timeout=-2)
    door.open()
    ray.get(ref)


def test_first_error_is_raised_while_others_are_pending(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote
    def fail() -> None:
        raise KeyError("early")

    pending = ray.remote(lambda: door.wait()).remote()
    failed = fail.remote()
    with pytest.raises(KeyError):
        ray.get([pending, failed])
    assert ray.wait([pending], timeout=0)[0] == []
    door.open()
    ray.get(pending)


def test_error_is_raised_at_every_get(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("again")

    ref = fail.remote()
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            ray.get(ref)


def test_many_small_results(ray: Ray) -> None:
    square = ray.remote(lambda i: i * i)
    assert ray.get([square.remote(i) for i in range(1000)]) == [i * i for i in range(1000)]


def test_many_references_put_and_read(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(2000)]
    assert sum(ray.get(refs)) == sum(range(2000))


def test_object_that_holds_many_references(ray: Ray) -> None:
    box = ray.put([ray.put(i) for i in range(500)])
    assert ray.get(ray.get(box)) == list(range(500))


def test_a_timeout_that_can_not_be_compared(ray: Ray) -> None:
    class Seconds(int):
        def __ge__(self, other: Any) -> bool:
            raise RuntimeError("no order")

    assert ray.get(ray.put(1), timeout=Seconds(3)) == 1
