"""Instances of classes that no worker can import: each time, the class goes as it is then."""

from __future__ import annotations

import abc
import dataclasses
import enum
import typing
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest

from .helpers import Ray

T = TypeVar("T")
factor = 1
table = {"factor": 1}


@pytest.fixture
def told(ray: Ray) -> Callable[[Any], Any]:
    """What `value.tell()` is in a worker, always the same one."""

    @ray.remote
    class Reader:
        def tell(self, value: Any) -> Any:
            return value.tell()

    reader = Reader.remote()
    return lambda value: ray.get(reader.tell.remote(value))


# ---- what changes in the driver ------------------------------------------------------------------


def test_attributes_that_change(told: Callable[[Any], Any]) -> None:
    class Told:
        number: Any = 1

        def tell(self) -> Any:
            return self.number, getattr(self, "more", None)

    assert [told(Told()) for _ in range(3)] == [(1, None)] * 3
    Told.number = 2
    assert [told(Told()) for _ in range(3)] == [(2, None)] * 3
    Told.more = 5  # type: ignore[attr-defined]
    assert told(Told()) == (2, 5)
    Told.number = [1]
    assert told(Told()) == ([1], 5)
    Told.number.append(2)
    assert told(Told()) == ([1, 2], 5)


def test_methods_that_change(told: Callable[[Any], Any]) -> None:
    class Told:
        def tell(self) -> Any:
            return "first"

    assert [told(Told()) for _ in range(2)] == ["first"] * 2
    Told.tell = lambda self: "second"  # type: ignore[method-assign]
    assert [told(Told()) for _ in range(2)] == ["second"] * 2
    Told.tell.__code__ = (lambda self: "third").__code__
    assert [told(Told()) for _ in range(2)] == ["third"] * 2

    def tell(self: Any, number: int = 4) -> Any:
        return number

    Told.tell = tell  # type: ignore[method-assign]
    assert told(Told()) == 4
    tell.__defaults__ = (5,)
    assert told(Told()) == 5


def test_bases_that_change(told: Callable[[Any], Any]) -> None:
    class Base:
        def tell(self) -> Any:
            return self.part()

        def part(self) -> Any:
            return 1

    class Told(Base):
        pass

    assert [told(Told()) for _ in range(2)] == [1, 1]
    Base.part = lambda self: 2  # type: ignore[method-assign]
    assert [told(Told()) for _ in range(2)] == [2, 2]


def test_what_methods_use_changes(
    told: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their module is one that workers find: what a script has goes along with its functions."""
    import __main__

    scope: dict[str, Any] = {"__name__": "__main__", "factor": 1, "table": {"a": 1}}
    program = """
def helper():
    return factor

class Told:
    def tell(self):
        return helper(), absent() if "absent" in globals() else None

class Table:
    def tell(self):
        return dict(table)
"""
    exec(program, scope)
    for name in ("Told", "Table"):
        monkeypatch.setattr(__main__, name, scope[name], raising=False)
    value, other = scope["Told"](), scope["Table"]()
    assert [told(value) for _ in range(2)] == [(1, None)] * 2
    scope["factor"] = 2
    assert [told(value) for _ in range(2)] == [(2, None)] * 2
    exec("def helper(): return factor + 10", scope)
    assert [told(value) for _ in range(2)] == [(12, None)] * 2
    assert [told(other) for _ in range(2)] == [{"a": 1}] * 2
    scope["table"]["a"] = 2
    assert told(other) == {"a": 2}


def test_closures_that_change(told: Callable[[Any], Any]) -> None:
    number, items = 1, [1]

    class Told:
        def tell(self) -> Any:
            return number

    class Items:
        def tell(self) -> Any:
            return list(items)

    assert [told(Told()), told(Told()), told(Items())] == [1, 1, [1]]
    number = 2
    items.append(2)
    assert [told(Told()), told(Told()), told(Items())] == [2, 2, [1, 2]]


def test_registered_with_an_abstract_class(told: Callable[[Any], Any]) -> None:
    class Abstract(abc.ABC):
        @abc.abstractmethod
        def tell(self) -> Any: ...

    class Told(Abstract):
        def tell(self) -> Any:
            return isinstance(5, Abstract)

    assert [told(Told()) for _ in range(2)] == [False] * 2
    Abstract.register(int)
    assert [told(Told()) for _ in range(2)] == [True] * 2


def test_submodules_that_are_imported_later(told: Callable[[Any], Any]) -> None:
    import wsgiref as package

    class Told:
        def tell(self) -> Any:
            return hasattr(package, "validate") and package.validate.__name__

    assert [told(Told()) for _ in range(2)] == [False] * 2
    import wsgiref.validate

    assert [told(Told()) for _ in range(2)] == ["wsgiref.validate"] * 2


def test_facts_about_functions_that_change(told: Callable[[Any], Any]) -> None:
    class Told:
        def tell(self) -> Any:
            method = type(self).method
            notes = method.__annotations__.get("x"), getattr(method, "mark", None)
            return method.__name__, method.__doc__, *notes

        def method(self) -> None: ...

    method: Any = Told.method
    assert [told(Told()) for _ in range(2)] == [("method", None, None, None)] * 2
    method.mark = 1
    assert told(Told()) == ("method", None, None, 1)
    method.__doc__ = "words"
    assert told(Told()) == ("method", "words", None, 1)
    method.__annotations__["x"] = int
    assert told(Told()) == ("method", "words", int, 1)
    method.__name__ = "other"
    assert told(Told()) == ("other", "words", int, 1)


# ---- what changes in the worker ------------------------------------------------------------------


def test_what_a_worker_does_to_the_class_is_gone_the_next_time(told: Callable[[Any], Any]) -> None:
    class Told:
        count: ClassVar[int] = 0

        def tell(self) -> Any:
            type(self).count += 1
            return self.count

    class Items:
        items: ClassVar[list[int]] = []

        def tell(self) -> Any:
            self.items.append(1)
            return len(self.items)

    assert [told(Told()) for _ in range(3)] == [1] * 3
    assert [told(Items()) for _ in range(3)] == [1] * 3


def test_counts_of_methods_begin_anew(told: Callable[[Any], Any]) -> None:
    def make() -> type:
        count = 0

        class Told:
            def tell(self) -> Any:
                nonlocal count
                count += 1
                return count

        return Told

    told_class = make()
    assert [told(told_class()) for _ in range(3)] == [1] * 3


def test_driver_gets_its_own_class_back(ray: Ray) -> None:
    class Kept:
        number = 1

        def plus(self) -> int:
            return self.number + 1

    @ray.remote
    def echo(value: Any) -> Any:
        return value

    for _ in range(3):
        back = ray.get(echo.remote(Kept()))
        assert type(back) is Kept and back.plus() == 2
    Kept.number = 5
    for _ in range(3):
        back = ray.get(echo.remote(Kept()))
        assert type(back) is Kept and back.plus() == 6


def test_one_class_in_one_worker(ray: Ray) -> None:
    class One:
        pass

    class Two(One):
        pass

    @ray.remote
    class Reader:
        def __init__(self, value: Any) -> None:
            self.cls = type(value)

        def same(self, *values: Any) -> list[bool]:
            return [type(value) is self.cls for value in values]

        def kinds(self, *values: Any) -> list[bool]:
            return [isinstance(value, self.cls) for value in values]

    reader = Reader.remote(One())
    for _ in range(2):
        assert ray.get(reader.same.remote(One(), One(), Two())) == [True, True, False]
        assert ray.get(reader.kinds.remote(One(), Two(), 1)) == [True, True, False]


def test_functions_are_as_they_were_sent(ray: Ray) -> None:
    number = 1

    def function() -> Any:
        function.calls += 1  # type: ignore[attr-defined]
        seen = getattr(function, "seen", 0)
        function.seen = seen + 1  # type: ignore[attr-defined]
        return number, function.calls, seen  # type: ignore[attr-defined]

    @ray.remote
    class Caller:
        def call(self, given: Any) -> Any:
            given.mark = getattr(given, "mark", 0) + 1
            return given(), given.mark

    function.calls = 0  # type: ignore[attr-defined]
    caller = Caller.remote()
    for _ in range(3):
        assert ray.get(caller.call.remote(function)) == ((1, 1, 0), 1)
    number = 2
    function.calls = 5  # type: ignore[attr-defined]
    for _ in range(3):
        assert ray.get(caller.call.remote(function)) == ((2, 6, 0), 1)


# ---- kinds of classes ----------------------------------------------------------------------------


def kinds_of_values() -> list[Any]:
    @dataclasses.dataclass(frozen=True, order=True)
    class Frozen:
        a: int
        b: list[int] = dataclasses.field(default_factory=list, compare=False)

        def tell(self) -> Any:
            return (self.a, self.b), self < Frozen(self.a + 1), self == Frozen(self.a)

    @dataclasses.dataclass(slots=True)
    class Slotted:
        a: int
        kind: ClassVar[str] = "s"
        _: dataclasses.KW_ONLY
        more: str | None = None

        def tell(self) -> Any:
            return self.kind, dataclasses.asdict(self)

    @dataclasses.dataclass
    class Noted:
        a: Frozen = dataclasses.field(metadata={"unit": "m"})

        def tell(self) -> Any:
            return dataclasses.fields(self)[0].metadata["unit"], self.a.tell()

    class Pair(NamedTuple):
        a: int
        b: int = 2

        def tell(self) -> Any:
            return self._asdict(), self._replace(a=5)[0]

    class Colour(enum.Enum):
        RED = 1

        def tell(self) -> Any:
            return self.name, self is type(self).RED

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def tell(self) -> Any: ...

    class Concrete(Abstract):
        def tell(self) -> Any:
            return isinstance(self, Abstract), super().tell()

    class Box(Generic[T]):
        def __init__(self, value: T) -> None:
            self.value = value

        def tell(self) -> Any:
            return self.value, typing.get_args(Box[int])

    class Meta(type):
        def shout(cls) -> str:
            return cls.__name__.upper()

    class WithMeta(metaclass=Meta):
        def tell(self) -> Any:
            return type(self).shout()

    class Failure(ValueError):
        def __init__(self, code: int) -> None:
            super().__init__(code)
            self.code = code

        def tell(self) -> Any:
            return self.code, self.args

    class Rich:
        """Words."""

        __slots__ = ("__dict__", "number")
        constant = (1, frozenset([2]), "x", None)

        def __init__(self) -> None:
            self.number = 3

        @property
        def doubled(self) -> int:
            return self.number * 2

        @staticmethod
        def fixed() -> int:
            return 7

        @classmethod
        def name(cls) -> str:
            return cls.__name__

        class Inner:
            value = 1

        def tell(self) -> Any:
            inner = self.Inner.value
            return self.doubled, self.fixed(), self.name(), inner, self.constant

    class Left:
        def tell(self) -> Any:
            return Right().other()

        def other(self) -> Any:
            return 1

    class Right:
        def other(self) -> Any:
            return Left().other()

    class Mine(dict):  # type: ignore[type-arg]
        def tell(self) -> Any:
            return sum(self.values())

    return [
        Frozen(1), Slotted(1, more="m"), Noted(Frozen(2)), Pair(1), Colour.RED, Concrete(),
        Box(1), WithMeta(), Failure(3), Rich(), Left(), Mine(a=1, b=2),
    ]  # fmt: skip


KINDS = [type(value).__name__ for value in kinds_of_values()]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_classes(told: Callable[[Any], Any], ray: Ray, kind: str) -> None:
    (value,) = (value for value in kinds_of_values() if type(value).__name__ == kind)
    assert [told(value) for _ in range(3)] == [value.tell()] * 3
    back = ray.get([ray.put(value) for _ in range(3)])
    assert [each.tell() for each in back] == [value.tell()] * 3
    assert {type(each) for each in back} == {type(value)}
    assert ray.get(ray.put(type(value))) is type(value)


def test_a_name_that_is_given_to_another_class(told: Callable[[Any], Any]) -> None:
    def define(number: int) -> Any:
        class Told:
            def tell(self) -> Any:
                return number

        return Told()

    values = [define(number) for number in range(300)]  # more than anybody remembers
    assert [told(value) for value in values] == list(range(300))
    assert [told(value) for value in values[:20]] == list(range(20))
