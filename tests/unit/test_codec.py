"""The value codec: what comes back is what pickle would give, and damage is an error."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import gc
import math
import pickle
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from whipray import _core
from whipray._private import serialization
from whipray._private.serialize_check import find_culprit, inspect_serializability

Point = namedtuple("Point", "x y")


class Text(str):
    pass


class Color(enum.Enum):
    RED = 1


@dataclass
class Record:
    name: str
    values: list[int]


def roundtrip(value: Any) -> Any:
    return _core.decode(_core.encode(value))


def same(a: Any, b: Any) -> bool:
    """Equal in types and content, all the way down; NaN equals NaN, -0.0 differs from 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    return bool(a == b)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    st.binary(max_size=100),
)
extras = st.one_of(
    st.complex_numbers(allow_nan=False),
    st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.frozensets(st.integers(), max_size=4),
)
arrays = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.floating_dtypes(endianness="?"),
        hnp.complex_number_dtypes(),
        hnp.datetime64_dtypes(),
        hnp.unicode_string_dtypes(max_len=3),
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7),
)
keys = st.one_of(st.text(max_size=8), st.integers(), st.tuples(st.integers(), st.booleans()))
values = st.recursive(
    st.one_of(scalars, extras, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(keys, inner, max_size=6),
    ),
    max_leaves=25,
)
unlimited = settings(deadline=None, max_examples=300)


@unlimited
@given(values)
def test_any_value_comes_back_as_from_cloudpickle(value):
    assert same(roundtrip(value), cloudpickle.loads(cloudpickle.dumps(value)))


@unlimited
@given(values, st.data())
def test_damaged_bytes_raise_value_error(value, data):
    encoded = bytearray(_core.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for damaged in (bytes(encoded), bytes(encoded[:cut])):
        decode_anything(damaged)


@unlimited
@given(st.binary(max_size=200))
def test_random_bytes_raise_value_error(data):
    decode_anything(data)
    decode_anything(b"\xc1\x01\0\0\x20\0\0\0" + data)


def decode_anything(data: bytes) -> None:
    try:
        _core.decode(data, allow_pickle=False)
    except ValueError:
        pass
    except MemoryError:
        pass  # an array without elements may claim any shape


@pytest.mark.parametrize("value", [None, 1, "text", (1, [2.5, {"a": b"b"}]), np.arange(500)])
def test_every_truncation_is_noticed(value):
    encoded = _core.encode(value)
    for n in range(len(encoded)):
        with pytest.raises(ValueError, match="malformed"):
            _core.decode(encoded[:n])


def test_bytes_after_the_value_are_noticed():
    for value in (None, (1, 2), {"k": 1}):
        with pytest.raises(ValueError, match="malformed"):
            _core.decode(_core.encode(value) + b"\xc0")


def test_small_values_are_small():
    assert len(_core.encode(None)) == 1
    assert len(_core.encode((1, 2, 3))) <= 7
    assert len(_core.encode(np.arange(3.0))) <= 32


@pytest.mark.parametrize("n", [63, 64, 4095, 4096, 5_000_000])
@pytest.mark.parametrize("unit", ["a", "é", "漢", "🎈", b"x"])
def test_long_text_and_bytes(n, unit):
    assert roundtrip(unit * n) == unit * n
    assert roundtrip([unit * n, {"k": unit * n}]) == [unit * n, {"k": unit * n}]


@pytest.mark.parametrize(
    "value",
    [
        Point(1, 2),
        Text("x"),
        Color.RED,
        OrderedDict(b=1, a=2),
        Record("r", [1, 2]),
        {1, (2, 3)},
        frozenset({"a"}),
        range(1, 9, 2),
        slice(1, None, "x"),
        bytearray(b"abc"),
        2**64,
        -(2**63) - 1,
        decimal.Decimal("1.50"),
        datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "z")),
        [Text("x"), {Text("k"): Point(1, 2)}],
        np.longdouble(1.5),
        np.str_("s"),
        np.datetime64("2020-01-01"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.rec.array([(1, "a")]),
    ],
    ids=repr,
)
def test_types_of_their_own_stay(value):
    back = roundtrip(value)
    expected = cloudpickle.loads(cloudpickle.dumps(value))
    assert type(back) is type(expected)
    assert np.all(back == expected)


def test_functions_classes_and_modules():
    factor = 3

    class Local:
        def twice(self, x):
            return 2 * x * factor

    assert roundtrip(lambda x: x + factor)(4) == 7
    assert roundtrip([Local()])[0].twice(5) == 30
    assert roundtrip({"m": math})["m"] is math
    assert roundtrip(np.add) is np.add
    assert roundtrip(functools.partial(Local().twice, 1))() == 6


# ---- identity, cycles, depth -------------------------------------------------------------------


def test_a_mutable_object_met_twice_comes_back_as_one():
    inner = [1]
    array = np.arange(1000)
    a, b = roundtrip([inner, inner])
    assert a is b
    a, (b, c) = roundtrip((inner, (inner, {})))
    assert a is b is not c
    a, b = roundtrip([array, array])
    assert a is b
    a, b = roundtrip(({}, {}))
    assert a is not b


def test_long_text_met_twice_is_stored_once():
    text = "x" * 1_000_000
    assert len(_core.encode([text] * 50)) < 2_000_000


def test_a_value_that_would_explode_does_not():
    value: Any = (1, 2)
    for _ in range(60):
        value = (value, value)
    assert len(_core.encode(value)) < 10_000


def test_cycles():
    value: list[Any] = [1]
    value.append({"self": value})
    back = roundtrip(value)
    assert back[1]["self"] is back


@pytest.mark.parametrize("depth", [60, 200, 900])
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}])
def test_deep_nesting(depth, wrap):
    value: Any = "core"
    for _ in range(depth):
        value = wrap(value)
    assert roundtrip(value) == value


def test_too_deep_for_pickle_is_said():
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(pickle.PicklingError, match="deep recursion"):
        _core.encode(value)
    while value:  # freed from the outside in
        value = value[0]


def test_nesting_in_damaged_bytes_is_bounded():
    with pytest.raises(ValueError, match="deep"):
        _core.decode(b"\x91" * 100_000 + b"\xc0")


def test_many_nodes():
    value = [float(i) for i in range(1_200_000)]
    assert roundtrip(value) == value


# ---- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 3, 12, 13, 1000])
def test_arrays_are_read_only(n):
    for array in (np.arange(float(n)), np.zeros((n, 2)), np.zeros(n, ">i4")):
        back = roundtrip(array)
        assert not back.flags.writeable
        with pytest.raises(ValueError):
            back[...] = 1


def test_large_arrays_are_views_that_keep_the_bytes():
    encoded = _core.encode([np.arange(10_000), b"rest"])
    before = sys.getrefcount(encoded)
    array = _core.decode(encoded)[0]
    assert np.shares_memory(array, np.frombuffer(encoded, np.uint8))
    assert sys.getrefcount(encoded) == before + 1
    part = array[5:10]
    del array
    assert part.tolist() == [5, 6, 7, 8, 9]
    del part
    assert sys.getrefcount(encoded) == before


def test_pickled_arrays_are_views_too():
    encoded = _core.encode(Record("a", np.arange(10_000)))  # type: ignore[arg-type]
    array = _core.decode(encoded).values
    assert np.shares_memory(array, np.frombuffer(encoded, np.uint8))
    assert not array.flags.writeable
    assert array.sum() == 49_995_000


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a[:, :, ::2],
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a, (2, *a.shape)),
        lambda a: a[1:1],
    ],
)
def test_order_of_elements_is_that_of_pickle(view):
    array = view(np.arange(4 * 5 * 6.0).reshape(4, 5, 6))
    back = roundtrip(array)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(array, 5, buffer_callback=buffers.append)
    expected = pickle.loads(data, buffers=buffers)
    assert back.strides == expected.strides or not array.size
    assert np.array_equal(back, expected)


def test_snapshot():
    array, items = np.zeros(1000), [1]
    encoded = _core.encode([array, items])
    array[:] = 1
    items.append(2)
    back = _core.decode(encoded)
    assert back[0].sum() == 0 and back[1] == [1]


@pytest.mark.parametrize("name", "bool_ int8 int64 uint64 float16 float64 complex128".split())
def test_numpy_scalars_keep_their_type(name):
    value = getattr(np, name)(1)
    assert type(roundtrip(value)) is type(value)
    assert roundtrip([value, value]) == [value, value]


# ---- errors, reducers, registered serializers --------------------------------------------------


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("lock",)


class Angry:
    def __reduce__(self):
        raise KeyError("not today")


class TypeErrorInGetState:
    def __getstate__(self):
        raise TypeError("state is private")


def test_errors_name_the_culprit():
    lock = threading.Lock()
    slotted = Slotted()
    slotted.lock = lock
    cases = {
        "attribute 'lock' of Holder": Holder(lock=lock),
        "item 1 of list: attribute 'inner' of Holder: item 'k' of dict": [
            1,
            Holder(inner={"k": lock}),
        ],
        "variable 'lock' used by the function": lambda: lock,
        "attribute 'lock' of Slotted": slotted,
        "argument 0 of the partial": functools.partial(print, lock),
    }
    for words, value in cases.items():
        with pytest.raises(TypeError) as caught:
            _core.encode(value)
        assert words in str(caught.value)
        assert "Could not serialize the value" in str(caught.value)
        assert "cannot pickle '_thread.lock' object" in str(caught.value)
    assert find_culprit([1, 2]) == ([], None)


def test_arguments_are_named():
    with pytest.raises(TypeError, match=r"the argument 'x' .*lock"):
        serialization.dump(threading.Lock(), [], "x")
    with pytest.raises(TypeError, match=r"the argument at position 2 .*lock"):
        serialization.dump(threading.Lock(), [], 2)


def test_errors_of_user_code_pass_unchanged():
    with pytest.raises(KeyError, match="not today"):
        _core.encode([Angry()])
    with pytest.raises(TypeError, match=r"^state is private$"):
        _core.encode(TypeErrorInGetState())


def test_failures_leave_nothing_behind():
    array = np.arange(1000)
    before = sys.getrefcount(array)
    for _ in range(20):
        with pytest.raises(KeyError):
            _core.encode([array, "x" * 5000, Angry()])
    gc.collect()
    assert sys.getrefcount(array) == before


class Meter:
    def __init__(self, value: int) -> None:
        self.value = value
        self.lock = threading.Lock()


def test_registered_serializers():
    serialization.register_serializer(Meter, serializer=lambda m: m.value, deserializer=Meter)
    try:
        back = roundtrip({"m": Meter(7), "plain": {1, 2}})
        assert isinstance(back["m"], Meter) and back["m"].value == 7
    finally:
        serialization.deregister_serializer(Meter)
    with pytest.raises(TypeError, match="attribute 'lock' of Meter"):
        _core.encode(Meter(7))
    serialization.deregister_serializer(Meter)


def test_register_serializer_checks_its_arguments():
    register: Any = serialization.register_serializer
    with pytest.raises(TypeError, match="class"):
        register(3, serializer=int, deserializer=int)
    with pytest.raises(TypeError, match="callable"):
        register(Meter, serializer=1, deserializer=int)


def test_inspect_serializability(capsys):
    assert inspect_serializability([1, 2], name="list") == (True, set())
    lock = threading.Lock()
    good, failures = inspect_serializability(Holder(inner=Holder(lock=lock)), name="holder")
    assert not good
    assert [f.obj for f in failures] == [lock]
    assert [f.path for f in failures] == [("holder", "inner", "lock")]
    assert "attribute 'lock' of Holder" in capsys.readouterr().out


def test_pickle_can_be_refused():
    with pytest.raises(ValueError, match="pickle"):
        _core.decode(_core.encode([1, {2}]), allow_pickle=False)
    assert _core.decode(_core.encode([1, (2,)]), allow_pickle=False) == [1, (2,)]


class Nested:
    """Encodes and decodes while it is itself encoded and decoded."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self):
        return _core.decode, (_core.encode({"inner": [self.value, {1}]}),)


def test_encodings_nest():
    assert roundtrip([Nested(5), Nested(Nested(6))]) == [
        {"inner": [5, {1}]},
        {"inner": [{"inner": [6, {1}]}, {1}]},
    ]


def test_nothing_leaks():
    value = [1, "é" * 5000, (2.5, {"k": np.arange(1000)}), {3, 4}, Record("r", [1]), 2**70]

    def rounds() -> int:
        for _ in range(300):
            roundtrip(value)
            decode_anything(_core.encode(value[:3])[:-1])
        gc.collect()
        return sys.getallocatedblocks()

    rounds()
    first = rounds()
    assert rounds() - first < 200


def test_threads_encode_at_once():
    value = [{"a": list(range(200)), "b": np.arange(5000), "c": Record("r", [1])}]
    expected = _core.encode(value)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(100):
            if _core.encode(value) != expected or len(_core.decode(expected)[0]["a"]) != 200:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
