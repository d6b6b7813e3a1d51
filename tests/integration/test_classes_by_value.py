"""Classes of a script in workers: made anew there, they are as they were."""

from __future__ import annotations

import abc
import dataclasses
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
