"""Structure and behaviour of values: aliases, cycles, reducers, classes of the program."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from .helpers import AppError, Point, Ray

Pair = collections.namedtuple("Pair", "left right")


class Typed(NamedTuple):
    a: int
    b: str = "default"


@dataclasses.dataclass
class Record:
    name: str
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class MyInt(int):
    tag: str


class MyStr(str):
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MyTuple(tuple):  # type: ignore[type-arg]
    pass


class MyFloat(float):
    pass


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: int) -> None:
        self.a = a


class Reduced:
    """Counts, in its state, how often it was rebuilt."""

    def __init__(self, value: int, trips: int = 0) -> None:
        self.value = value
        self.trips = trips

    def __reduce__(self) -> Any:
        return Reduced, (self.value, self.trips + 1)


class WithState:
    def __init__(self) -> None:
        self.keep = 1
        self.drop = lambda: None

    def __getstate__(self) -> dict[str, int]:
        return {"keep": self.keep}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__dict__.update(state, restored=True)


class NewArgs:
    def __new__(cls, value: int) -> NewArgs:
        self = super().__new__(cls)
        self.value = value
        return self

    def __getnewargs__(self) -> tuple[int]:
        return (self.value,)

    value: int


class Registered:
    def __init__(self, value: int) -> None:
        self.value = value


def rebuild_registered(value: int) -> Registered:
    return Registered(value + 100)


def trips(ray: Ray, value: Any) -> list[Any]:
    """The value after a put, and after going through a task."""
    return [ray.get(ray.put(value)), ray.get(ray.remote(lambda v: v).remote(value))]


def test_aliases_inside_a_value_stay_aliases(ray: Ray) -> None:
    shared = [1]
    for back in trips(ray, Point(shared, [shared, shared])):  # type: ignore[arg-type]
        assert back.x is back.y[0] is back.y[1]


def test_aliased_instances_in_plain_containers_stay_aliases(ray: Ray) -> None:
    shared = Point(1, 2)
    for back in trips(ray, {"a": shared, "b": [shared, (shared,)]}):
        assert back["a"] is back["b"][0] is back["b"][1][0]


def test_list_that_contains_itself(ray: Ray) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    for back in trips(ray, loop):
        assert back[1] is back


def test_dict_that_contains_itself(ray: Ray) -> None:
    loop: dict[str, Any] = {}
    loop["me"] = {"again": loop}
    for back in trips(ray, loop):
        assert back["me"]["again"] is back


def test_objects_that_point_at_each_other(ray: Ray) -> None:
    a, b = Record("a"), Record("b")
    a.tags, b.tags = [b], [a]  # type: ignore[list-item]
    for back in trips(ray, a):
        assert back.tags[0].tags[0] is back


def test_cycle_through_a_tuple(ray: Ray) -> None:
    inner: list[Any] = []
    outer = (inner,)
    inner.append(outer)
    for back in trips(ray, outer):
        assert back[0][0] is back


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: list[Callable[[Any], Any]] = [lambda v: [v], lambda v: (v,), lambda v: {"k": v}]


@pytest.mark.parametrize("wrap", WRAPS, ids=["list", "tuple", "dict"])
def test_nesting_deeper_than_plain_pickle_writes(ray: Ray, wrap: Callable[[Any], Any]) -> None:
    @ray.remote
    def same(value: Any) -> Any:
        return value

    value = nested(900, wrap)
    assert ray.get(ray.put(value)) == value
    assert ray.get(same.remote(value)) == value


@pytest.mark.parametrize("wrap", WRAPS, ids=["list", "tuple", "dict"])
def test_nesting_that_is_too_deep(ray: Ray, wrap: Callable[[Any], Any]) -> None:
    @ray.remote
    def make() -> Any:
        return nested(3000, wrap)

    @ray.remote
    def take(value: Any) -> None: ...

    value = nested(3000, wrap)
    with pytest.raises(pickle.PicklingError, match="deep recursion"):
        ray.put(value)
    with pytest.raises(pickle.PicklingError, match="deep recursion"):
        take.remote(value)
    with pytest.raises(pickle.PicklingError, match="deep recursion"):
        ray.get(make.remote())


@pytest.mark.parametrize(
    "value",
    [
        Pair(1, [2]),
        Typed(1),
        Record("r", ["x"]),
        Frozen(3),
        MyInt(5),
        MyStr("s"),
        MyList([1, 2]),
        MyDict(a=1),
        MyTuple((1, 2)),
        MyFloat(1.5),
        Point(3, 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_classes_of_the_program_keep_their_type(ray: Ray, value: Any) -> None:
    for back in trips(ray, value):
        assert type(back) is type(value)
        assert back == value
    (inside,) = ray.get(ray.put([value]))
    assert type(inside) is type(value)


@pytest.mark.parametrize("kind", [MyInt, MyStr, MyList, MyDict, MyFloat], ids=lambda k: k.__name__)
def test_attributes_of_subclasses_of_builtins_are_kept(ray: Ray, kind: Any) -> None:
    value = kind()
    value.note = "attached"
    for back in trips(ray, value):
        assert back.note == "attached"


def test_slots_are_kept_and_unset_ones_stay_unset(ray: Ray) -> None:
    for back in trips(ray, Slotted(1)):
        assert back.a == 1
        assert not hasattr(back, "b")


def test_reduce_is_called_once_per_trip(ray: Ray) -> None:
    assert ray.get(ray.put(Reduced(4))).trips == 1
    back = ray.get(ray.remote(lambda v: v).remote(Reduced(4)))
    assert (back.value, back.trips) == (4, 2)


def test_getstate_and_setstate(ray: Ray) -> None:
    for back in trips(ray, WithState()):
        assert (back.keep, back.restored, hasattr(back, "drop")) == (1, True, False)


def test_getnewargs(ray: Ray) -> None:
    for back in trips(ray, NewArgs(6)):
        assert back.value == 6


def test_reducer_registered_with_copyreg(ray: Ray) -> None:
    copyreg.pickle(Registered, lambda value: (rebuild_registered, (value.value,)))
    try:
        assert ray.get(ray.put(Registered(1))).value == 101
    finally:
        copyreg.dispatch_table.pop(Registered)


def test_serializer_registered_with_the_engine(ray: Ray) -> None:
    ray.util.register_serializer(
        Registered, serializer=lambda value: value.value, deserializer=lambda v: Registered(-v)
    )
    try:
        assert ray.get(ray.put(Registered(7))).value == -7
    finally:
        ray.util.deregister_serializer(Registered)
    assert ray.get(ray.put(Registered(7))).value == 7


def test_instance_of_a_class_defined_in_a_function(ray: Ray) -> None:
    class Local:
        shared = 3

        def __init__(self, x: int) -> None:
            self.x = x

        def total(self) -> int:
            return self.x + self.shared

    for back in trips(ray, Local(2)):
        assert back.total() == 5
        assert isinstance(back, Local)


def test_instance_of_a_class_defined_in_a_task(ray: Ray) -> None:
    @ray.remote
    def make() -> Any:
        class Remote:
            value = "made there"

        return Remote()

    assert ray.get(make.remote()).value == "made there"


def test_closure_and_default_arguments_of_functions(ray: Ray) -> None:
    k = 4

    def f(x: int, y: int = 10, *, z: int = 100) -> int:
        return x + y + z + k

    for back in trips(ray, f):
        assert back(1) == 115


def test_bound_method_carries_its_object(ray: Ray) -> None:
    bound = Record("bound", ["t"]).tags.count
    assert ray.get(ray.remote(lambda f: f("t")).remote(bound)) == 1
    for back in trips(ray, AppError(1, "x").with_traceback):
        assert back.__self__.code == 1


def test_exception_with_arguments_and_attributes(ray: Ray) -> None:
    for back in trips(ray, AppError(5, "five")):
        assert (back.code, back.detail) == (5, "five")


def test_properties_and_descriptors_come_with_the_class(ray: Ray) -> None:
    class Circle:
        def __init__(self, r: float) -> None:
            self.r = r

        @property
        def double(self) -> float:
            return 2 * self.r

        @classmethod
        def unit(cls) -> Any:
            return cls(1)

        @staticmethod
        def name() -> str:
            return "circle"

    check = ray.remote(lambda c: (c.double, c.unit().r, c.name()))
    assert ray.get(check.remote(Circle(4))) == (8, 1, "circle")


def test_actor_handle_and_reference_inside_an_object(ray: Ray) -> None:
    @ray.remote
    class Echo:
        def say(self, x: int) -> int:
            return x

    record = Record("both", [Echo.remote(), ray.put(3)])
    use = ray.remote(lambda r: ray.get([r.tags[0].say.remote(2), r.tags[1]]))
    assert ray.get(use.remote(record)) == [2, 3]


class Rebuilt:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return Rebuilt, (self.value,)


def local_function() -> Any:
    secret = [object()]
    return lambda: len(secret)


def local_instance() -> Any:
    class Local:
        def __init__(self) -> None:
            self.itself = [1]

    return Local()


@pytest.mark.parametrize(
    "make",
    [lambda: Rebuilt([1]), local_function, local_instance],
    ids=["reducer", "closure", "local"],
)
def test_a_value_that_has_been_stored_is_freed_without_a_collection(
    ray: Ray, make: Callable[[], Any]
) -> None:
    echo = ray.remote(lambda value: None)
    ray.get(echo.remote(1))
    gc.collect()
    gc.disable()
    try:
        value = make()
        watched = weakref.ref(value)
        ref = ray.put(value)
        ray.get(echo.remote(value))
        del value
        assert watched() is None
        back = ray.get(ref)
        watched = weakref.ref(back)
        del back
        assert watched() is None
    finally:
        gc.enable()
