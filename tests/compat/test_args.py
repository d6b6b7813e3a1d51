"""Every shape of arguments, and the check of a call against the signature in the caller."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Point, Ray


def collect(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def shapes(a: int, b: int = 2, *rest: int, key: int, other: int = 5, **more: int) -> list[Any]:
    return [a, b, rest, key, other, more]


def positional_only(a: int, b: int = 2, /, c: int = 3) -> tuple[int, int, int]:
    return a, b, c


def keyword_only(*, a: int, b: int = 2) -> tuple[int, int]:
    return a, b


GOOD_CALLS: list[tuple[tuple[int, ...], dict[str, int]]] = [
    ((1,), {"key": 4}),
    ((1, 9), {"key": 4, "other": 6}),
    ((1, 9, 8, 7), {"key": 4}),
    ((), {"a": 1, "key": 4, "b": 3}),
    ((1,), {"key": 4, "x": 1, "y": 2}),
    ((1, 2, 3), {"key": 4, "other": 0, "zz": 1}),
]
BAD_CALLS: list[tuple[Any, tuple[int, ...], dict[str, int]]] = [
    (shapes, (), {}),
    (shapes, (1,), {}),
    (shapes, (1,), {"a": 2, "key": 1}),
    (positional_only, (), {}),
    (positional_only, (1,), {"b": 5}),
    (positional_only, (1, 2, 3, 4), {}),
    (keyword_only, (1,), {}),
    (keyword_only, (), {"b": 1}),
    (keyword_only, (), {"a": 1, "c": 1}),
]


@pytest.mark.parametrize(("args", "kwargs"), GOOD_CALLS)
def test_task_receives_what_a_plain_call_would(
    ray: Ray, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    assert ray.get(ray.remote(shapes).remote(*args, **kwargs)) == shapes(*args, **kwargs)


@pytest.mark.parametrize(("function", "args", "kwargs"), BAD_CALLS)
def test_call_that_does_not_fit_fails_in_the_caller(
    ray: Ray, function: Any, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    with pytest.raises(TypeError):
        ray.remote(function).remote(*args, **kwargs)


def test_calls_are_judged_one_by_one(ray: Ray) -> None:
    """Whatever calls of the function fitted before."""
    functions = (shapes, positional_only, keyword_only)
    tasks = {function: ray.remote(function) for function in functions}
    for _ in range(2):
        for args, kwargs in GOOD_CALLS:
            assert ray.get(tasks[shapes].remote(*args, **kwargs)) == shapes(*args, **kwargs)
        assert ray.get(tasks[positional_only].remote(1, 2, c=3)) == (1, 2, 3)
        assert ray.get(tasks[keyword_only].remote(b=1, a=2)) == (2, 1)
        for function, args, kwargs in BAD_CALLS:
            with pytest.raises(TypeError):
                tasks[function].remote(*args, **kwargs)


def test_keywords_of_many_shapes(ray: Ray) -> None:
    task = ray.remote(collect)
    calls = [((0,) * n, {f"k{k}": k for k in range(n % 7)}) for n in range(70)]
    calls += [((), {f"other{n}": n}) for n in range(100)]
    assert ray.get([task.remote(*args, **kwargs) for args, kwargs in calls]) == calls


def test_no_arguments(ray: Ray) -> None:
    assert ray.get(ray.remote(collect).remote()) == ((), {})


def test_none_is_an_argument(ray: Ray) -> None:
    assert ray.get(ray.remote(collect).remote(None, a=None)) == ((None,), {"a": None})


def test_positional_only_arguments(ray: Ray) -> None:
    assert ray.get(ray.remote(positional_only).remote(1, 5, c=6)) == (1, 5, 6)


def test_keyword_only_arguments(ray: Ray) -> None:
    assert ray.get(ray.remote(keyword_only).remote(b=3, a=1)) == (1, 3)


def test_keyword_order_is_kept(ray: Ray) -> None:
    _, kwargs = ray.get(ray.remote(collect).remote(z=1, a=2, m=3))
    assert list(kwargs) == ["z", "a", "m"]


def test_keywords_named_like_internals(ray: Ray) -> None:
    names = {"self": 1, "args": 2, "kwargs": 3, "function": 4, "name": 5, "num_cpus": 6}
    names |= {"options": 7, "cls": 8, "method": 9}
    task = ray.remote(lambda **kwargs: kwargs)
    expected = {key: value for key, value in names.items() if key != "self"}
    assert ray.get(task.remote(**expected)) == expected


def test_default_values_are_used_in_the_worker(ray: Ray) -> None:
    def with_default(items: tuple[int, ...] = (1, 2), scale: float = 0.5) -> float:
        return sum(items) * scale

    assert ray.get(ray.remote(with_default).remote()) == 1.5


def test_many_positional_arguments(ray: Ray) -> None:
    args, _ = ray.get(ray.remote(collect).remote(*range(500)))
    assert args == tuple(range(500))


def test_many_keyword_arguments(ray: Ray) -> None:
    given = {f"k{i}": i for i in range(300)}
    _, kwargs = ray.get(ray.remote(collect).remote(**given))
    assert kwargs == given


def test_large_and_small_arguments_together(ray: Ray) -> None:
    big = b"b" * 300_000
    args, kwargs = ray.get(ray.remote(collect).remote(1, big, "x", k=big, s=2))
    assert args == (1, big, "x")
    assert kwargs == {"k": big, "s": 2}


def test_a_large_argument_is_pickled_at_most_twice(ray: Ray) -> None:
    """Once to see that it is large, and then as an object of its own."""

    class Counts:
        pickled = 0

        def __reduce__(self) -> Any:
            Counts.pickled += 1
            return bytes, (100_000,)

    task = ray.remote(lambda value, other: (len(value), other))
    assert ray.get(task.remote(Counts(), 5)) == (100_000, 5)
    assert Counts.pickled <= 2


@pytest.mark.parametrize("named", [False, True])
def test_a_large_argument_alone_is_pickled_once(ray: Ray, named: bool) -> None:
    inner = ray.put("inner")

    class Counts:
        pickled = 0

        def __reduce__(self) -> Any:
            Counts.pickled += 1
            return list, ([bytes(100_000), inner, "é" * 5000],)

    task = ray.remote(lambda value: value)
    ref = task.remote(value=Counts()) if named else task.remote(Counts())
    assert Counts.pickled == 1
    first, second, third = ray.get(ref)
    assert (first, ray.get(second), third) == (bytes(100_000), "inner", "é" * 5000)


def test_many_medium_arguments(ray: Ray) -> None:
    parts = [bytes([i]) * 60_000 for i in range(12)]
    args, _ = ray.get(ray.remote(collect).remote(*parts))
    assert list(args) == parts


def test_one_object_given_twice_is_equal_in_both_places(ray: Ray) -> None:
    shared = [1, 2]
    args, _ = ray.get(ray.remote(collect).remote(shared, shared))
    assert args == ([1, 2], [1, 2])


def test_argument_of_a_class_imported_by_the_worker(ray: Ray) -> None:
    task = ray.remote(lambda p: Point(p.y, p.x))
    assert ray.get(task.remote(Point(1, 2))) == Point(2, 1)


def test_function_as_argument(ray: Ray) -> None:
    apply = ray.remote(lambda f, x: f(x))
    assert ray.get(apply.remote(lambda x: x * 10, 4)) == 40


def test_class_as_argument_and_result(ray: Ray) -> None:
    class Local:
        tag = "local"

    tag = ray.remote(lambda c: (c.tag, c))
    name, returned = ray.get(tag.remote(Local))
    assert name == returned.tag == "local"


def test_remote_function_as_argument(ray: Ray) -> None:
    inner = ray.remote(lambda x: x + 1)
    outer = ray.remote(lambda f, x: ray.get(f.remote(x)))
    assert ray.get(outer.remote(inner, 1)) == 2


def test_actor_class_as_argument(ray: Ray) -> None:
    @ray.remote(num_cpus=0)
    class Inner:
        def value(self) -> int:
            return 5

    outer = ray.remote(lambda cls: ray.get(cls.remote().value.remote()))
    assert ray.get(outer.remote(Inner)) == 5


def test_changing_an_argument_in_the_task_leaves_the_callers_alone(ray: Ray) -> None:
    def grow(items: list[int]) -> list[int]:
        items.append(9)
        return items

    mine = [1]
    assert ray.get(ray.remote(grow).remote(mine)) == [1, 9]
    assert mine == [1]


def test_constructor_arguments_of_every_shape(ray: Ray) -> None:
    class Holder:
        def __init__(self, a: int, *rest: int, key: int = 0, **more: int) -> None:
            self.all = (a, rest, key, more)

        def get(self) -> tuple[Any, ...]:
            return self.all

    holder = ray.remote(Holder).remote(1, 2, 3, key=4, x=5)
    assert ray.get(holder.get.remote()) == (1, (2, 3), 4, {"x": 5})


def test_method_arguments_of_every_shape(ray: Ray) -> None:
    class Calls:
        def call(self, a: int, /, b: int = 2, *rest: int, k: int, **more: int) -> list[Any]:
            return [a, b, rest, k, more]

    actor = ray.remote(Calls).remote()
    assert ray.get(actor.call.remote(1, k=3)) == [1, 2, (), 3, {}]
    assert ray.get(actor.call.remote(1, 5, 6, k=3, z=1)) == [1, 5, (6,), 3, {"z": 1}]


def test_wrong_constructor_call_fails_in_the_caller(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.remote(Point).remote(1)
    with pytest.raises(TypeError):
        ray.remote(Point).remote(1, 2, 3)


def test_arguments_for_a_class_without_constructor_fail_in_the_caller(ray: Ray) -> None:
    class Empty:
        def value(self) -> int:
            return 1

    with pytest.raises(TypeError):
        ray.remote(Empty).remote(1)


def test_wrong_method_call_fails_in_the_caller(ray: Ray) -> None:
    class Calls:
        def call(self, a: int) -> int:
            return a

        def other(self, b: int) -> int:
            return b

    actor = ray.remote(Calls).remote()
    with pytest.raises(TypeError):
        actor.call.remote()
    with pytest.raises(TypeError):
        actor.call.remote(1, 2)
    with pytest.raises(TypeError):
        actor.call.remote(b=1)
    assert ray.get([actor.call.remote(a=n) for n in range(3)]) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(TypeError):
            actor.call.remote(1, a=1)
        with pytest.raises(TypeError):
            actor.other.remote(a=1)


def test_text_of_the_signature_error_says_what_is_missing(ray: Ray) -> None:
    with pytest.raises(TypeError, match="key"):
        ray.remote(shapes).remote(1)
    with pytest.raises(TypeError, match="unheard"):
        ray.remote(positional_only).remote(1, unheard=2)
