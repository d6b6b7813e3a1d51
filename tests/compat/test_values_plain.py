"""Plain values survive a put and a trip through a task, with their exact type."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import re
import uuid
from typing import Any

import pytest

from .helpers import Point, Ray


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Flags(enum.IntFlag):
    A = 1
    B = 2


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    255,
    2**31,
    -(2**31) - 1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    2**64 + 1,
    10**400,
    -(10**400),
    0.0,
    1e308,
    5e-324,
    float("inf"),
    float("-inf"),
    1 + 2j,
    "",
    "plain",
    "äöü 日本語 🎉",
    "nul\x00inside",
    "\ud800 lone surrogate",
    "x" * 200_000,
    b"",
    b"\x00\xff" * 10,
    b"x" * 200_000,
    (),
    (1,),
    (1, (2, (3,))),
    [],
    [None, True, 1, 1.5, "s", b"b"],
    {},
    {"a": 1, 2: "b", None: 3, (1, 2): 4, 1.5: 5, b"k": 6, True: 7},
    {"nested": {"list": [{"deep": (1, [2])}]}},
    set(),
    {1, "a", (2, 3)},
    frozenset({1, 2}),
    range(5),
    range(10, 0, -3),
    slice(1, 2, 3),
    Ellipsis,
    NotImplemented,
    int,
    dict[str, int],
    len,
    math.sin,
    Colour.RED,
    Colour.BLUE,
    Flags.A | Flags.B,
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.UTC),
    datetime.date(1, 1, 1),
    datetime.timedelta(days=-1, microseconds=1),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/a/b"),
    re.compile(r"a+", re.IGNORECASE),
    array.array("d", [1.0, 2.0]),
    collections.OrderedDict([("z", 1), ("a", 2)]),
    collections.Counter("hello"),
    collections.deque([1, 2, 3], maxlen=3),
    collections.defaultdict(list, {"a": [1]}),
    Point(1, 2),
    ValueError("as a value"),
]


def name_of(value: Any) -> str:
    return f"{type(value).__name__}:{ascii(value)[:30]}"


@pytest.mark.parametrize("value", VALUES, ids=name_of)
def test_put_and_get_keep_value_and_type(ray: Ray, value: Any) -> None:
    back = ray.get(ray.put(value))
    assert type(back) is type(value)
    assert back == value or repr(back) == repr(value)


def test_trip_through_a_task_keeps_value_and_type(ray: Ray) -> None:
    same = ray.remote(lambda value: (value, type(value).__name__))
    for value, (back, name) in zip(
        VALUES, ray.get([same.remote(value) for value in VALUES]), strict=True
    ):
        assert name == type(value).__name__
        assert type(back) is type(value)
        assert back == value or repr(back) == repr(value)


def test_all_values_in_one_container(ray: Ray) -> None:
    back = ray.get(ray.put(VALUES))
    assert [type(item) for item in back] == [type(item) for item in VALUES]
    assert repr(back) == repr(VALUES)


def test_nan_stays_nan(ray: Ray) -> None:
    assert math.isnan(ray.get(ray.put(float("nan"))))
    assert math.isnan(ray.get(ray.put([float("nan")]))[0])


def test_negative_zero_keeps_its_sign(ray: Ray) -> None:
    assert math.copysign(1, ray.get(ray.put(-0.0))) == -1


def test_singletons_stay_singletons(ray: Ray) -> None:
    for value in (None, True, False, Ellipsis, NotImplemented, Colour.RED):
        assert ray.get(ray.put(value)) is value
        assert ray.get(ray.put([value]))[0] is value


def test_bool_and_int_keys_and_values_are_not_mixed_up(ray: Ray) -> None:
    assert [type(item) for item in ray.get(ray.put([True, 1, 1.0]))] == [bool, int, float]


def test_order_of_a_dict_is_kept(ray: Ray) -> None:
    keys = [f"k{i}" for i in range(100)][::-1]
    assert list(ray.get(ray.put(dict.fromkeys(keys)))) == keys


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("kind", [bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_content_of_other_buffers_is_kept(ray: Ray, kind: type, size: int) -> None:
    value = bytes(range(10)) * (size // 10)
    assert ray.get(ray.put(kind(value))) == value
    assert ray.get(ray.remote(lambda v: bytes(v)).remote(kind(value))) == value


def test_bytearray_inside_an_object_stays_changeable(ray: Ray) -> None:
    back = ray.get(ray.put(Point(bytearray(10), 0)))  # type: ignore[arg-type]
    back.x[0] = 1
    back.x.extend(b"more")
    assert len(back.x) == 14


@pytest.mark.parametrize("depth", [50, 200])
def test_deep_nesting(ray: Ray, depth: int) -> None:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    back = ray.get(ray.put(value))
    for _ in range(depth):
        (back,) = back
    assert back == "core"


def test_generator_and_lock_are_refused(ray: Ray) -> None:
    import threading

    for wrong in ((i for i in range(3)), threading.Lock()):
        with pytest.raises(TypeError):
            ray.put(wrong)


def test_module_travels_by_name(ray: Ray) -> None:
    assert ray.get(ray.put(math)) is math


def test_exception_value_is_not_raised(ray: Ray) -> None:
    back = ray.get(ray.remote(lambda: KeyError("just a value")).remote())
    assert isinstance(back, KeyError)
    assert back.args == ("just a value",)


def test_large_list_of_small_values(ray: Ray) -> None:
    value = [(i, str(i), i / 7) for i in range(20_000)]
    assert ray.get(ray.put(value)) == value
