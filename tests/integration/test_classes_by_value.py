"""Classes of a script in workers: made anew there, they are as they were."""

from __future__ import annotations

import abc
import dataclasses
import functools
import shutil
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

import whipray

T = TypeVar("T")


def local_classes() -> dict[str, Any]:
    """As those of a script: nobody can import them."""

    @dataclasses.dataclass(slots=True)
    class Data:
        x: int
        more: list[int] = dataclasses.field(default_factory=list)

    @dataclasses.dataclass(slots=True, frozen=True, order=True)
    class Frozen:
        x: int

    class One:
        __slots__ = "x"

        def __init__(self, x: int) -> None:
            self.x = x

    class Derived(One):
        __slots__ = ("_Derived__own", "__weakref__")

        def __init__(self, x: int) -> None:
            super().__init__(x)
            self._Derived__own = x

    class Open(One):
        __slots__ = ("__dict__",)

        def __init__(self, x: int) -> None:
            super().__init__(x)
            self.extra = x

    class Documented(abc.ABC):  # noqa: B024
        __slots__ = {"x": "what x is"}

        def __init__(self, x: int) -> None:
            self.x = x

    class Box(Generic[T]):
        __slots__ = ("x",)

        def __init__(self, x: T) -> None:
            self.x = x

    class Pair(NamedTuple):
        x: int
        y: int = 2

    class Number(int):
        __slots__ = ()

        @property
        def x(self) -> int:
            return int(self)

    found = (Data, Frozen, One, Derived, Open, Documented, Box, Pair, Number)
    return {cls.__name__: cls for cls in found}


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    whipray.init(num_cpus=1)
    yield
    whipray.shutdown()


@pytest.mark.parametrize("name", local_classes())
def test_an_instance_that_a_worker_makes_is_one_of_the_class(name: str) -> None:
    cls = local_classes()[name]

    @whipray.remote
    def make(x: int) -> Any:
        return cls(x)

    @whipray.remote
    def has_dict(value: Any) -> bool:
        return hasattr(value, "__dict__")

    made = whipray.get(make.remote(5))
    assert type(made) is cls and made.x == 5
    assert whipray.get(has_dict.remote(made)) == hasattr(made, "__dict__")
    assert whipray.get(has_dict.remote(make.remote(5))) == hasattr(made, "__dict__")


def test_cached_functions_of_a_script_work_in_workers() -> None:
    calls: list[int] = []

    @functools.lru_cache(maxsize=7, typed=True)
    def fibonacci(n: int) -> int:
        """Of n."""
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @whipray.remote
    def facts() -> tuple[int, int, Any, Any, Any]:
        value = fibonacci(20)
        return value, len(calls), fibonacci.cache_parameters(), fibonacci.__doc__, fibonacci(20)

    assert whipray.get(facts.remote()) == (6765, 21, {"maxsize": 7, "typed": True}, "Of n.", 6765)
    assert whipray.get(whipray.remote(fibonacci).remote(10)) == 55
    assert whipray.get(whipray.remote(lambda cached: cached(9)).remote(fibonacci)) == 34
    assert calls == []


def test_cached_methods_and_properties_of_a_script_work_in_workers() -> None:
    class Circle:
        made = 0

        def __init__(self, radius: int) -> None:
            self.radius = radius

        @functools.cached_property
        def area(self) -> int:
            self.made += 1
            return 3 * self.radius**2

        @functools.cache  # noqa: B019
        def scaled(self, factor: int) -> int:
            return factor * self.area

    def use(circle: Circle) -> tuple[int, int, int, int]:
        return circle.area, circle.area, circle.scaled(2), circle.made

    assert whipray.get(whipray.remote(use).remote(Circle(2))) == (12, 12, 24, 1)
    actor = whipray.remote(Circle).remote(1)
    assert whipray.get(actor.scaled.remote(5)) == 15


def test_cached_functions_of_modules_go_by_name() -> None:
    find = shutil.which  # of a module that workers have
    cached = functools.cache(find)
    assert whipray.cloudpickle.loads(whipray.cloudpickle.dumps(cached)) is not cached
    from fnmatch import _compile_pattern

    assert (
        whipray.cloudpickle.loads(whipray.cloudpickle.dumps(_compile_pattern)) is _compile_pattern
    )
