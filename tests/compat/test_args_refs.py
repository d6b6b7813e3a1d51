"""References as arguments: resolved at the top level, passed on as references when nested."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from .helpers import Ray


@dataclasses.dataclass
class Carrier:
    ref: Any


def test_top_level_reference_becomes_its_value(ray: Ray) -> None:
    task = ray.remote(lambda a, *, b: (a, b))
    assert ray.get(task.remote(ray.put(1), b=ray.put("two"))) == (1, "two")


def test_references_in_star_arguments_become_values(ray: Ray) -> None:
    task = ray.remote(lambda *a, **k: (a, k))
    refs = [ray.put(i) for i in range(3)]
    assert ray.get(task.remote(*refs, x=refs[1])) == ((0, 1, 2), {"x": 1})


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda r: [r], lambda v: v[0]),
        (lambda r: (0, r), lambda v: v[1]),
        (lambda r: {"k": r}, lambda v: v["k"]),
        (lambda r: {r: 1}, lambda v: next(iter(v))),
        (lambda r: {r}, lambda v: next(iter(v))),
        (lambda r: [[{"deep": (r,)}]], lambda v: v[0][0]["deep"][0]),
        (Carrier, lambda v: v.ref),
        (lambda r: lambda: r, lambda v: v()),
    ],
    ids=["list", "tuple", "dict value", "dict key", "set", "deep", "object", "closure"],
)
def test_nested_reference_stays_a_reference(ray: Ray, wrap: Any, unwrap: Any) -> None:
    @ray.remote
    def look(box: Any) -> tuple[bool, int]:
        ref = unwrap(box)
        return isinstance(ref, ray.ObjectRef), ray.get(ref)

    assert ray.get(look.remote(wrap(ray.put(7)))) == (True, 7)


def test_reference_as_default_value(ray: Ray) -> None:
    held = ray.put(4)

    @ray.remote
    def use(ref: Any = held) -> int:
        return int(ray.get(ref))

    assert ray.get(use.remote()) == 4


def test_result_of_a_pending_task_as_argument(ray: Ray) -> None:
    inc = ray.remote(lambda x: x + 1)
    ref = inc.remote(0)
    for _ in range(20):
        ref = inc.remote(ref)
    assert ray.get(ref) == 21


def test_same_reference_twice(ray: Ray) -> None:
    ref = ray.put([1, 2])
    task = ray.remote(lambda a, b, *, c: (a, b, c))
    assert ray.get(task.remote(ref, ref, c=ref)) == ([1, 2],) * 3


def test_same_reference_at_top_level_and_nested(ray: Ray) -> None:
    ref = ray.put("v")
    task = ray.remote(lambda a, box: (a, ray.get(box[0])))
    assert ray.get(task.remote(ref, [ref])) == ("v", "v")


def test_wide_fan_in(ray: Ray) -> None:
    one = ray.remote(lambda i: i)
    total = ray.remote(lambda *values: sum(values))
    assert ray.get(total.remote(*[one.remote(i) for i in range(60)])) == sum(range(60))


def test_wide_fan_out(ray: Ray) -> None:
    source = ray.remote(lambda: 10).remote()
    add = ray.remote(lambda a, b: a + b)
    assert ray.get([add.remote(source, i) for i in range(30)]) == [10 + i for i in range(30)]


def test_large_value_by_reference(ray: Ray) -> None:
    ref = ray.put(b"z" * 2_000_000)
    length = ray.remote(lambda value: len(value))
    assert ray.get([length.remote(ref) for _ in range(4)]) == [2_000_000] * 4


def test_returned_reference_is_not_resolved(ray: Ray) -> None:
    @ray.remote
    def outer() -> Any:
        return ray.put("inner")

    inner = ray.get(outer.remote())
    assert isinstance(inner, ray.ObjectRef)
    assert ray.get(inner) == "inner"


def test_returned_reference_of_a_nested_task(ray: Ray) -> None:
    @ray.remote
    def leaf() -> str:
        return "leaf"

    @ray.remote
    def branch() -> list[Any]:
        return [leaf.remote(), leaf.remote()]

    assert ray.get(ray.get(branch.remote())) == ["leaf", "leaf"]


def test_reference_whose_value_is_a_reference_resolves_once(ray: Ray) -> None:
    @ray.remote
    def wrap() -> Any:
        return ray.put(3)

    @ray.remote
    def look(value: Any) -> bool:
        return isinstance(value, ray.ObjectRef)

    assert ray.get(look.remote(wrap.remote())) is True


def test_chain_of_nested_references(ray: Ray) -> None:
    @ray.remote
    def pack(box: list[Any]) -> list[Any]:
        return [ray.put(box)]

    box: Any = [ray.put("core")]
    for _ in range(4):
        box = ray.get(pack.remote(box))
    for _ in range(4):
        box = ray.get(box[0])
    assert ray.get(box[0]) == "core"


def test_closure_over_a_reference(ray: Ray) -> None:
    ref = ray.put(5)
    assert ray.get(ray.remote(lambda: ray.get(ref) + 1).remote()) == 6


def test_reference_to_constructor_and_method(ray: Ray) -> None:
    @ray.remote
    class Adder:
        def __init__(self, start: int) -> None:
            self.total = start

        def add(self, k: int) -> int:
            self.total += k
            return self.total

    adder = Adder.remote(ray.put(10))
    first = adder.add.remote(ray.put(1))
    assert ray.get(adder.add.remote(first)) == 22


def test_result_of_an_actor_feeds_a_task_and_back(ray: Ray) -> None:
    @ray.remote
    class Store:
        def put(self, value: int) -> int:
            self.value = value
            return value

        def get(self) -> int:
            return self.value

    store = Store.remote()
    double = ray.remote(lambda x: 2 * x)
    stored = store.put.remote(double.remote(store.put.remote(4)))
    assert ray.get([stored, store.get.remote()]) == [8, 8]


def test_nested_pending_reference_does_not_delay_the_task(ray: Ray, gate: Any) -> None:
    door = gate("door")
    slow = ray.remote(num_cpus=0)(lambda: door.wait())
    pending = slow.remote()
    quick = ray.remote(lambda box: isinstance(box[0], ray.ObjectRef))
    assert ray.get(quick.remote([pending])) is True
    assert ray.wait([pending], timeout=0) == ([], [pending])
    door.open()
    assert ray.get(pending) is None


def test_dropping_the_caller_reference_keeps_the_argument(ray: Ray, gate: Any) -> None:
    door = gate("door")
    waited = ray.remote(num_cpus=0)(lambda: door.wait())
    ref = ray.put(b"q" * 500_000)
    use = ray.remote(lambda _, value: len(value)).remote(waited.remote(), ref)
    nested = ray.remote(lambda _, box: len(ray.get(box[0]))).remote(waited.remote(), [ref])
    del ref
    door.open()
    assert ray.get([use, nested]) == [500_000, 500_000]
