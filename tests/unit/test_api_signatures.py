"""What calls are accepted: bounds, exact checks, tables of actor classes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from whipray import actor
from whipray._private import actor_table, signatures


def plain(a: int, b: int = 2) -> None: ...
def star(a: int, *rest: int) -> None: ...
def keyword_only(a: int, *, k: int) -> None: ...
def keyword_default(a: int, *, k: int = 1) -> None: ...
def positional_only(a: int, /, b: int = 1) -> None: ...
def everything(a: int, /, b: int, *rest: int, k: int, d: int = 1, **more: int) -> None: ...


@functools.wraps(plain)
def wrapped(*args: Any, **kwargs: Any) -> None: ...


BOUNDS: list[tuple[Callable[..., Any], int, tuple[int, int]]] = [
    (plain, 0, (1, 2)),
    (plain, 1, (0, 1)),
    (star, 0, (1, -1)),
    (star, 1, (0, -1)),
    (keyword_only, 0, signatures.NEVER),
    (keyword_default, 0, (1, 1)),
    (positional_only, 0, (1, 2)),
    (everything, 0, signatures.NEVER),
    (wrapped, 0, signatures.NEVER),
    (len, 0, signatures.NEVER),
    (functools.partial(plain, 1), 0, signatures.NEVER),
    (lambda: None, 0, (0, 0)),
    (lambda *args: None, 1, (0, -1)),
]


@pytest.mark.parametrize(("function", "skip", "expected"), BOUNDS)
def test_bounds(function: Callable[..., Any], skip: int, expected: tuple[int, int]) -> None:
    assert signatures.bounds(function, skip) == expected


@pytest.mark.parametrize("function", [plain, star, keyword_default, positional_only])
@pytest.mark.parametrize("count", range(5))
def test_bounds_agree_with_the_signature(function: Callable[..., Any], count: int) -> None:
    least, most = signatures.bounds(function)
    fits = least <= count and (most < 0 or count <= most)
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        assert not fits
    else:
        assert fits


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], bool]] = [
    (plain, (1,), {"b": 3}, True),
    (plain, (1, 2), {"b": 3}, False),
    (plain, (), {"a": 1}, True),
    (plain, (1,), {"q": 3}, False),
    (keyword_only, (1,), {}, False),
    (keyword_only, (1,), {"k": 2}, True),
    (positional_only, (), {"a": 1}, False),
    (everything, (1, 2, 3), {"k": 4, "z": 5}, True),
    (wrapped, (), {}, False),
    (wrapped, (1,), {}, True),
    (functools.partial(plain, 1), (2, 3), {}, False),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "good"), CALLS)
def test_exact_check(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], good: bool
) -> None:
    if good:
        signatures.check(function, "f", args, kwargs)
        return
    with pytest.raises(TypeError):
        signatures.check(function, "f", args, kwargs)


@pytest.mark.parametrize("function", [plain, star, keyword_only, positional_only, everything])
def test_parameters_from_code_are_those_of_inspect(function: Callable[..., Any]) -> None:
    expected = [
        (p.name, int(p.kind), p.default is not p.empty)
        for p in inspect.signature(function).parameters.values()
    ]
    assert actor_table.parameters(function, 0) == expected
    rebuilt = actor_table.signature_of(expected)
    assert [(p.name, int(p.kind)) for p in rebuilt.parameters.values()] == [
        (name, kind) for name, kind, _ in expected
    ]


def test_parameters_without_self() -> None:
    assert actor_table.parameters(plain, 1) == [("b", 1, True)]
    assert actor_table.parameters(wrapped, 0) == [("a", 1, False), ("b", 1, True)]


class Base:
    attribute = 3
    handler = int

    def first(self) -> int:
        return 1

    def removed(self) -> None: ...

    @property
    def shown(self) -> int:
        return 2


class Derived(Base):
    removed = None  # type: ignore[assignment]

    def second(self, a: int, b: int = 2) -> None: ...

    @staticmethod
    def still(a: int) -> int:
        return a

    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    @actor.method(num_returns=3, max_task_retries=2, concurrency_group="io")
    def marked(self) -> tuple[int, int, int]:
        return 1, 2, 3

    def items(self) -> Iterator[int]:
        yield 1

    def __call__(self) -> None: ...

    def _hidden(self) -> None: ...


def test_table_lists_methods_of_all_bases_and_nothing_else() -> None:
    table = actor_table.Table(Derived)
    assert table.order()[:3] == list(actor_table.BUILTIN)
    names = table.order()[3:]
    assert set(names) == {
        *("first", "second", "still", "of_class", "marked", "items", "__call__", "_hidden")
    }
    assert names[0] == "first"
    assert not table.is_async


def test_infos_number_the_methods_in_order() -> None:
    table = actor_table.Table(Derived)
    infos = table.infos(1, ["io"])
    assert [infos[name][0] for name in table.order()] == list(range(len(infos)))
    assert infos["second"][1:5] == (1, 1, 2, 1)
    assert infos["still"][2:4] == (1, 1)
    assert infos["of_class"][2:4] == (1, 1)
    assert infos["marked"][1] == 3
    assert infos["marked"][4:6] == (2, 1)
    assert infos["items"][2:4] == (0, 0)
    assert infos["__ray_ready__"] == (0, 1, 0, 0, 0, 0, False, 0)


def test_any_coroutine_makes_an_actor_async() -> None:
    class Async(Base):
        async def wait(self) -> None: ...

    assert actor_table.Table(Async).is_async


def test_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="nope"):
        actor_table.group_number(["io"], "nope")
    assert actor_table.group_number(["io"], None) == 0
    assert actor_table.group_number(["io"], "io") == 1


@pytest.mark.parametrize("given", [{"nonsense": 1}, {"name": "x"}, {"num_returns": -1}])
def test_method_decorator_refuses(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        actor.method(**given)
