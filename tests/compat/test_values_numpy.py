"""NumPy values of every shape, order and type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .helpers import Ray


class Tagged(np.ndarray):
    """A subclass with an attribute of its own, kept over pickling."""

    tag: str = "none"

    def __array_finalize__(self, other: Any) -> None:
        self.tag = getattr(other, "tag", "none")

    def __reduce__(self) -> Any:
        rebuild, args, state = super().__reduce__()  # type: ignore[misc]
        return rebuild, args, (*state, self.tag)

    def __setstate__(self, state: Any) -> None:
        self.tag = state[-1]
        super().__setstate__(state[:-1])


RECORD = np.dtype([("id", "i4"), ("at", "f8", (2,)), ("name", "U5")])
DTYPES = [
    "bool",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "c16",
    ">i4",
    ">f8",
    "S7",
    "U7",
    "M8[s]",
    "m8[ns]",
    "V6",
]
ARRAYS: dict[str, Any] = {
    "0-d": np.array(5.0),
    "0-d int": np.array(7),
    "empty": np.array([]),
    "empty 2-d": np.empty((0, 3)),
    "empty in the middle": np.empty((2, 0, 3), dtype="i4"),
    "1-d": np.arange(10),
    "2-d": np.arange(12.0).reshape(3, 4),
    "5-d": np.arange(32).reshape(2, 2, 2, 2, 2),
    "F order": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(20)[::3],
    "reversed": np.arange(10)[::-1],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "column": np.arange(12).reshape(3, 4)[:, 1],
    "record": np.array([(1, (2, 3), "ab"), (4, (5, 6), "cd")], dtype=RECORD),
    "field of a record": np.zeros(3, dtype=RECORD)["at"],
    "masked": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
    "recarray": np.rec.array([(1, 2.0)], names="a,b"),
    "nan and inf": np.array([np.nan, np.inf, -np.inf, -0.0]),
}


def equal(a: Any, b: Any) -> bool:
    same = np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    return bool(same) and a.dtype == b.dtype and a.shape == b.shape and type(a) is type(b)


@pytest.mark.parametrize("name", list(ARRAYS))
def test_arrays_of_every_layout(ray: Ray, name: str) -> None:
    array = ARRAYS[name]
    assert equal(ray.get(ray.put(array)), array)
    assert equal(ray.get(ray.remote(lambda a: a).remote(array)), array)
    assert equal(ray.get(ray.put({"in": [array]}))["in"][0], array)


@pytest.mark.parametrize("name", ["2-d", "F order", "transposed", "strided"])
def test_large_arrays_of_every_layout(ray: Ray, name: str) -> None:
    array = np.concatenate([ARRAYS[name]] * 20_000, axis=-1)
    if name == "F order":
        array = np.asfortranarray(array)
        assert ray.get(ray.put(array)).flags.f_contiguous
    if name == "strided":
        array = array[::2]
    assert equal(ray.get(ray.put(array)), array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [4, 50_000])
def test_arrays_of_every_type(ray: Ray, dtype: str, length: int) -> None:
    array = np.frombuffer(np.zeros(length * np.dtype(dtype).itemsize, "u1"), dtype=dtype).copy()
    back = ray.get(ray.put(array))
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


def test_scalars_keep_their_type(ray: Ray) -> None:
    for value in (
        np.float32(1.5),
        np.float64(2.5),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.complex128(1j),
        np.str_("s"),
        np.datetime64("2020-01-01"),
    ):
        back = ray.get(ray.put(value))
        assert type(back) is type(value)
        assert back == value


def test_record_scalar(ray: Ray) -> None:
    record = ARRAYS["record"][1]
    back = ray.get(ray.put(record))
    assert back["id"] == 4
    assert back["name"] == "cd"


def test_object_array(ray: Ray) -> None:
    array = np.array([1, "two", None, [3], {"k": 4}], dtype=object)
    back = ray.get(ray.put(array))
    assert back.dtype == object
    assert list(back) == list(array)


def test_object_array_of_references(ray: Ray) -> None:
    array = np.array([ray.put(1), ray.put(2)], dtype=object)
    total = ray.remote(lambda a: sum(ray.get(list(a))))
    assert ray.get(total.remote(array)) == 3


def test_ragged_object_array_of_arrays(ray: Ray) -> None:
    array = np.empty(2, dtype=object)
    array[0], array[1] = np.arange(3), np.arange(50_000)
    back = ray.get(ray.put(array))
    assert [len(item) for item in back] == [3, 50_000]


@pytest.mark.parametrize("length", [3, 50_000])
def test_subclass_with_an_attribute(ray: Ray, length: int) -> None:
    array = np.arange(length).view(Tagged)
    array.tag = "kept"
    back = ray.get(ray.put(array))
    assert type(back) is Tagged
    assert back.tag == "kept"
    assert back.shape == (length,)


def test_dtypes_and_ufuncs_are_values(ray: Ray) -> None:
    assert ray.get(ray.put(RECORD)) == RECORD
    assert ray.get(ray.put(np.add)) is np.add
    assert ray.get(ray.put(np.float32)) is np.float32


def test_random_generator_continues_its_stream(ray: Ray) -> None:
    generator = np.random.default_rng(3)
    generator.random(10)
    back = ray.get(ray.put(generator))
    assert np.array_equal(back.random(5), generator.random(5))


def test_arithmetic_on_results(ray: Ray) -> None:
    a, b = ray.get([ray.put(np.arange(100_000)), ray.put(np.ones(100_000))])
    assert (a + b).sum() == sum(range(100_000)) + 100_000


def test_same_array_twice_in_one_value(ray: Ray) -> None:
    array = np.arange(100_000)
    first, second = ray.get(ray.put([array, array]))
    assert first is second


def test_views_of_one_buffer_are_independent_arrays(ray: Ray) -> None:
    base = np.arange(100_000)
    left, right = ray.get(ray.put((base[:50_000], base[50_000:])))
    assert left[-1] + 1 == right[0]
