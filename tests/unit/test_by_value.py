"""What is remembered of classes that go by value, and what is not."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import typing
import weakref
from typing import Any, ClassVar

import pytest

from whipray import _core, cloudpickle
from whipray._private import by_value, serialization, watch

LIMIT = 5
T = typing.TypeVar("T")


def known(cls: type) -> by_value.Known | None:
    """What is remembered of the class after one of its instances has gone twice."""
    for _ in range(2):  # the first time, Python notes something at the class
        serialization.dumps(cls)
    return by_value._known.get(cls)


def of_every_kind() -> dict[str, type]:
    number = 1

    class Base:
        def base(self) -> int:
            return number

    @dataclasses.dataclass(order=True)
    class Data(Base):
        a: int
        b: list[typing.Optional[int]] = dataclasses.field(default_factory=list)  # noqa: UP045

        def method(self, other: int = 3, *, more: str = "m") -> Any:
            return os.path.join("a", more), other, LIMIT, Helper, helper()

    def helper() -> str:
        return json_text

    json_text = "{}"

    class Helper:
        __slots__ = ("x",)
        count: ClassVar[int] = 0

        @property
        def p(self) -> int:
            return self.x  # type: ignore[no-any-return, attr-defined]

        @functools.cached_property
        def c(self) -> int:
            return 1

        @staticmethod
        def s() -> None: ...

        @classmethod
        def k(cls) -> None: ...

        def data(self) -> Any:
            return Data(1)

    class Colour(enum.Enum):
        RED = 1
        BLUE = ("b", 2.0)

        @classmethod
        def _missing_(cls, value: object) -> Any:
            return cls.RED

    class Right(enum.IntFlag):
        READ = enum.auto()
        WRITE = enum.auto()

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def method(self) -> int: ...

    class Concrete(Abstract):
        def method(self) -> int:
            return 1

    class Box(typing.Generic[T]):
        def method(self) -> list[T]:
            return []

    pair = collections.namedtuple("pair", "a b", module="__main__")
    classes = (Base, Data, Helper, Colour, Right, Abstract, Concrete, Box, pair)
    return {cls.__name__.lower(): cls for cls in classes}


@pytest.mark.parametrize("kind", of_every_kind())
def test_usual_classes_are_remembered(kind: str) -> None:
    cls = of_every_kind()[kind]
    first = known(cls)
    assert first is not None and first.watch.holds()
    assert serialization.dumps(cls) == serialization.dumps(cls)
    assert by_value._known[cls] is first
    assert pickle.loads(serialization.dumps(cls)) is cls


def read(program: str, given: bytes) -> list[bytes]:
    """The words that a process prints which is given bytes; `made` has one for each that it made
    anew."""
    begin = (
        "import pickle, sys\n"
        "from whipray import cloudpickle\n"
        "from whipray._private import by_value\n"
        "made, loads = [], cloudpickle.loads\n"
        "cloudpickle.loads = lambda text: made.append(1) or loads(text)\n"
    )
    ran = subprocess.run([sys.executable, "-c", begin + program], input=given, capture_output=True)
    assert ran.stderr == b""
    return ran.stdout.split()


def test_a_reader_makes_the_class_once() -> None:
    data = of_every_kind()["data"]
    known(data)
    program = (
        "text = sys.stdin.buffer.read()\n"
        "values = [pickle.loads(text) for _ in range(4)]\n"
        "assert len({type(value) for value in values}) == 1 and values[0].base() == 1\n"
        "print(len(made))\n"  # it and its base
        "type(values[0]).__mro__[1].base = None\n"
        "assert pickle.loads(text).base() == 1\n"
        "print(len(made))\n"
    )
    assert read(program, serialization.dumps(data(1))) == [b"2", b"4"]


def test_functions_are_remembered_from_the_second_time_on() -> None:
    number = 2

    def helper(x: int) -> int:
        return x * number

    def function(x: int, *, more: int = LIMIT) -> int:
        return helper(x) + more

    once = lambda: 1  # noqa: E731
    serialization.dumps(once)
    assert once not in by_value._known
    found = by_value._known.get(function) if serialization.dumps(function) else None
    assert found is None
    serialization.dumps(function)
    found = by_value._known[function]
    assert found is not None and found.watch.holds()
    assert pickle.loads(serialization.dumps(function)) is function
    changes: list[Any] = [
        lambda: setattr(function, "note", 1),
        lambda: vars(function).clear(),
        lambda: setattr(function, "__kwdefaults__", {"more": 7}),
        lambda: function.__kwdefaults__.update(more=8),
        lambda: setattr(helper, "__code__", (lambda x: number).__code__),
    ]
    for change in changes:
        change()
        assert not found.watch.holds()
        serialization.dumps(function)
        found = by_value._known[function]
        assert found is not None and found.watch.holds()
    number = 3
    assert not found.watch.holds()


def refused() -> dict[str, type]:
    items: list[int] = []
    count = 0

    class Mutable:
        items: ClassVar[list[int]] = []

    class Closure:
        def method(self) -> Any:
            return items

    class Counts:
        def method(self) -> None:
            nonlocal count
            count += 1

    class Assigns:
        def method(self) -> None:
            global LIMIT
            LIMIT = 6

    class Nested:
        def method(self) -> Any:
            return [lambda: items]

    class Default:
        def method(self, found: Any = items) -> Any:
            return found

    class Bound:
        method = items.append

    class Lock:
        lock = threading.Lock

        def method(self) -> Any:
            return Mutable

    class Cached:
        @functools.lru_cache  # noqa: B019
        def method(self) -> None: ...

    class Meta(type):
        pass

    class WithMeta(metaclass=Meta):
        pass

    class Colour(enum.Enum):
        RED = items

    @dataclasses.dataclass
    class Noted:
        a: int = dataclasses.field(default=1, metadata={"unit": items})

    return {
        cls.__name__: cls
        for cls in (
            Mutable, Closure, Counts, Assigns, Nested, Default, Bound, Lock, Cached, Colour,
            WithMeta, Noted,
        )
    }  # fmt: skip


@pytest.mark.parametrize("kind", refused())
def test_what_can_not_be_watched_goes_anew_each_time(kind: str) -> None:
    cls = refused()[kind]
    with pytest.raises(watch.CannotWatch):
        watch.Watch(cls)
    if kind not in ("Lock",):
        assert known(cls) is None


def test_a_class_that_is_registered_with_an_abstract_one() -> None:
    abstract: Any = of_every_kind()["abstract"]
    found = known(abstract)
    assert found is not None and found.watch.holds()
    abstract.register(int)
    assert not found.watch.holds()


def test_members_of_enumerations_that_are_changed() -> None:
    colour: Any = of_every_kind()["colour"]
    found = known(colour)
    assert found is not None and found.watch.holds()
    colour.RED.note = 1
    assert known(colour) is not found


def test_a_reader_makes_classes_that_use_each_other_once() -> None:
    class Base:
        pass

    @dataclasses.dataclass
    class Part(Base):
        a: int = 1

    @dataclasses.dataclass
    class Other(Base):
        a: Part

    @dataclasses.dataclass
    class Whole:
        a: Part
        b: Other

    values = [Whole(Part(), Other(Part())), Other(Part()), Part()]
    for cls in (Whole, Other, Part, Base):
        known(cls)
    texts = [serialization.dumps(value) for value in values] * 3
    program = "for text in pickle.load(sys.stdin.buffer): pickle.loads(text)\nprint(len(made))\n"
    assert read(program, pickle.dumps(texts)) == [b"4"]


def test_classes_that_change_all_the_time_go_anew() -> None:
    class Counts:
        count: ClassVar[int] = 0

        def __init__(self) -> None:
            Counts.count += 1

    for _ in range(by_value.MOST_CHANGES + 3):
        assert pickle.loads(serialization.dumps(Counts())).count == Counts.count
    assert Counts not in by_value._known


def test_what_is_not_watched_is_not_kept() -> None:
    class Refers:
        items: ClassVar[list[int]] = []

    assert known(Refers) is None
    gone = weakref.ref(Refers)
    del Refers
    gc.collect()
    assert gone() is None


def test_large_pickles_are_not_kept() -> None:
    class Large:
        text = "x" * by_value.MOST_BYTES

    assert known(Large) is None
    assert pickle.loads(serialization.dumps(Large())).text == Large.text


def test_attributes_of_functions_are_looked_at() -> None:
    class Marks:
        def method(self) -> None: ...

    found = known(Marks)
    assert found is not None and found.watch.holds()
    Marks.method.mark = 1  # type: ignore[attr-defined]
    assert not found.watch.holds()


def test_classes_that_workers_find_are_not_looked_at() -> None:
    class Here:
        pass

    for cls in (collections.OrderedDict, watch.Watch, int):
        assert by_value.reduced(cls) is None and cls not in by_value._known
    assert by_value.reduced(Here) is not None


def test_only_so_many_are_remembered() -> None:
    for _ in range(by_value.MOST + 20):
        known(of_every_kind()["base"])
    assert len(by_value._known) <= by_value.MOST
    assert len(by_value._by_digest) <= by_value.MOST


def test_one_class_may_not_depend_on_thousands() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    lines = [f"def f{n}(): return f{n + 1}" for n in range(watch.MOST_WATCHED + 5)]
    exec("\n".join(lines) + "\nclass Deep:\n    def method(self): return f0()\n", scope)
    with pytest.raises(watch.CannotWatch):
        watch.Watch(scope["Deep"])


@pytest.mark.parametrize(
    "part", [(), (1,), ({}, ("a",), ()), ({}, "a", "b"), (int, (), ("a",), ()), ([], 1), None]
)
def test_a_look_at_what_is_no_part(part: Any) -> None:
    with pytest.raises(TypeError):
        _core.unchanged((part,), None)


def test_modules_that_go_by_value_from_now_on() -> None:
    class Uses:
        def method(self) -> Any:
            return collections.OrderedDict

    found = known(Uses)
    assert found is not None and found.watch.holds()
    cloudpickle.register_pickle_by_value(collections)
    try:
        assert not found.watch.holds()
    finally:
        cloudpickle.unregister_pickle_by_value(collections)
    assert found.watch.holds()
