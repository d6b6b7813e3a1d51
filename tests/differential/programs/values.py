"""What comes back of a value that was put, passed or returned."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Any, NamedTuple

import numpy as np

from ..catalogue import Ray, program
from ..observe import attempt


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass
class Item:
    name: str
    sizes: list[int]


class Text(str):
    pass


PLAIN: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "minus": -1,
    "64 bit": 2**63 - 1,
    "unsigned": 2**64 - 1,
    "huge": 2**200,
    "float": 1.5,
    "nan": float("nan"),
    "minus zero": -0.0,
    "infinite": float("inf"),
    "complex": 1 + 2j,
    "empty text": "",
    "text": "abc",
    "wide text": "grüße ☃ 𝄞",
    "surrogate": "\ud800",
    "zero in text": "a\0b",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"xyz"),
    "empty list": [],
    "list": [1, [2, [3]]],
    "tuple": (1, (2, "x")),
    "dict": {"a": 1, 2: ["b"], None: (), (1, 2): 3},
    "set": {1, 2, 3},
    "frozenset": frozenset("ab"),
    "range": range(2, 10, 3),
    "ellipsis": ...,
    "enum": Colour.BLUE,
    "named tuple": Pair(1, "x"),
    "dataclass": Item("n", [1, 2]),
    "subclass of str": Text("sub"),
    "ordered dict": collections.OrderedDict([("z", 1), ("a", 2)]),
    "default dict": collections.defaultdict(int, {"k": 3}),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=5),
    "decimal": decimal.Decimal("1.10"),
    "fraction": fractions.Fraction(1, 3),
    "date": datetime.date(2024, 2, 29),
    "timedelta": datetime.timedelta(days=1, microseconds=5),
    "uuid": uuid.UUID(int=5),
    "path": pathlib.PurePosixPath("a/b"),
    "array": array.array("d", [1.0, 2.0]),
    "exception": ValueError("kept", 3),
    "class": Item,
    "function": len,
    "module": collections,
}

ARRAYS: dict[str, Any] = {
    "int64": np.arange(6).reshape(2, 3),
    "float32": np.linspace(0, 1, 5, dtype=np.float32),
    "bool": np.array([True, False]),
    "complex": np.array([1j, 2]),
    "empty": np.empty((0, 3)),
    "no dimension": np.array(3.5),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(20)[::3],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "big endian": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array([1, "x", None], dtype=object),
    "dates": np.array(["2024-01-01"], dtype="datetime64[D]"),
    "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": np.ma.array([1, 2, 3], mask=[0, 1, 0]),
    "large": np.arange(100_000, dtype=np.int32),
    "record": np.rec.array([(1, "a")], dtype=[("n", "i4"), ("s", "U1")]),
    "read only": np.broadcast_to(np.arange(3), (2, 3)),
}

SCALARS: dict[str, Any] = {
    "int8": np.int8(-3),
    "float64": np.float64(2.5),
    "float16": np.float16(0.5),
    "bool": np.bool_(True),
    "str": np.str_("s"),
    "datetime": np.datetime64("2024-05-05"),
    "dtype": np.dtype("f4"),
}


OWN_TYPE = {"bytearray": "a bytearray comes back as one, not as bytes"}


@program(each=PLAIN, differs=OWN_TYPE)
def put(ray: Ray, value: Any) -> Any:
    return ray.get(ray.put(value))


@program(each={**PLAIN, **SCALARS}, differs=OWN_TYPE)
def echoed_by_a_task(ray: Ray, value: Any) -> Any:
    return ray.get(ray.remote(lambda x: (type(x).__name__, x)).remote(value))


@program(each=ARRAYS)
def array_put(ray: Ray, value: Any) -> Any:
    return ray.get(ray.put(value))


@program(each=ARRAYS)
def array_passed_and_returned(ray: Ray, value: Any) -> Any:
    return ray.get(ray.remote(lambda x: [x.shape, x.flags.writeable, x]).remote(value))


@program(each=ARRAYS)
def array_passed_by_reference(ray: Ray, value: Any) -> Any:
    @ray.remote
    def look(x: Any) -> Any:
        return [str(x.dtype), x.flags.writeable, x.flags.aligned, type(x).__name__]

    return ray.get(look.remote(ray.put(value)))


@program(each=SCALARS)
def scalar_put(ray: Ray, value: Any) -> Any:
    return ray.get(ray.put(value))


@program(differs="one object met twice in a value stays one, as with pickle")
def same_object_twice_stays_one(ray: Ray) -> Any:
    inner = [1]
    first, second = ray.get(ray.put([inner, inner]))
    return first is second


@program
def cycle(ray: Ray) -> Any:
    loop: list[Any] = [1]
    loop.append(loop)
    back = ray.get(ray.put(loop))
    return back[1] is back


@program
def array_twice_in_one_value(ray: Ray) -> Any:
    data = np.arange(10)
    first, second = ray.get(ray.put([data, data]))
    return [first is second, first, second]


@program
def writing_to_a_value_fails(ray: Ray) -> Any:
    data = ray.get(ray.put(np.zeros(1000)))

    def write() -> None:
        data[0] = 1

    return attempt(write)


@program
def writing_to_an_argument_fails(ray: Ray) -> Any:
    @ray.remote
    def write(data: Any) -> None:
        data[0] = 1

    return attempt(lambda: ray.get(write.remote(np.zeros(1000))), text=False)


@program
def put_is_a_snapshot(ray: Ray) -> Any:
    data, plain = np.zeros(3), [1]
    refs = [ray.put(data), ray.put(plain)]
    data[:] = 7
    plain.append(2)
    return ray.get(refs)


@program
def argument_is_a_snapshot(ray: Ray) -> Any:
    plain = {"k": [1]}
    ref = ray.remote(lambda x: x).remote(plain)
    plain["k"].append(2)
    return ray.get(ref)


@program
def get_twice_gives_two_lists(ray: Ray) -> Any:
    ref = ray.put([1])
    first = ray.get(ref)
    first.append(2)
    return ray.get(ref)


@program
def deep_nesting(ray: Ray) -> Any:
    value: Any = "core"
    for _ in range(300):
        value = [value]
    back, depth = ray.get(ray.put(value)), 0
    while isinstance(back, list):
        back, depth = back[0], depth + 1
    return [back, depth]


@program
def closure_over_values(ray: Ray) -> Any:
    data, text = np.arange(3), "t"
    return ray.get(ray.remote(lambda: [data, text]).remote())


@program
def lambda_and_generator_expression(ray: Ray) -> Any:
    return ray.get(ray.remote(lambda f, n: sum(f(i) for i in range(n))).remote(lambda x: x * x, 5))


@program
def local_class_and_instance(ray: Ray) -> Any:
    class Local:
        kind = "local"

        def __init__(self, x: int) -> None:
            self.x = x

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Local) and other.x == self.x

        __hash__ = None  # type: ignore[assignment]

    back = ray.get(ray.put(Local(3)))
    return [back.x, back.kind, back == Local(3), type(back) is Local]


@program(
    each={
        "lock": "import threading; value = threading.Lock()",
        "generator": "value = (i for i in range(3))",
        "file": "value = open('/dev/null')",
        "socket": "import socket; value = socket.socket()",
    }
)
def what_cannot_be_pickled(ray: Ray, source: str) -> Any:
    names: dict[str, Any] = {}
    exec(source, names)
    outcome = attempt(lambda: ray.put(names["value"]), text=False)
    close = getattr(names["value"], "close", None)
    if close is not None:
        close()
    return outcome


@program
def reducer_of_the_users_own(ray: Ray) -> Any:
    class Odd:
        def __reduce__(self) -> Any:
            return (dict, ([("odd", 1)],))

    return ray.get(ray.put(Odd()))


@program
def reducer_that_fails(ray: Ray) -> Any:
    class Bad:
        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle of me")

    return [
        attempt(lambda: ray.put(Bad()), text=False),
        attempt(lambda: ray.get(ray.remote(lambda: Bad()).remote()), text=False),
    ]


@program
def value_that_cannot_be_read_back(ray: Ray) -> Any:
    def explode() -> None:
        raise LookupError("not readable")

    class Bomb:
        def __reduce__(self) -> Any:
            return (explode, ())

    ref = ray.put(Bomb())
    return attempt(lambda: ray.get(ref), text=False)


@program(each={"alone": False, "in a list": True})
def argument_that_cannot_be_read_back(ray: Ray, in_a_list: bool) -> Any:
    class Bomb:
        def __getstate__(self) -> Any:
            return {"set": True}

        def __setstate__(self, state: Any) -> None:
            raise LookupError("not readable")

    class Actor:
        def take(self, value: Any) -> None:
            pass

    given: Any = [Bomb()] if in_a_list else Bomb()
    calls = (ray.remote(lambda value: 0).remote, ray.remote(Actor).remote().take.remote)
    return [attempt(lambda call=call: ray.get(call(given)), text=False) for call in calls]
