"""Actors: state, members of every kind, constructors, built-in calls."""

from __future__ import annotations

import abc
import dataclasses
import os
from typing import Any, Generic, TypeVar

import pytest

from .helpers import AppError, Journal, Ray, wait_until

T = TypeVar("T")


class Counter:
    """Counts."""

    step = 1

    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self, k: int | None = None) -> int:
        self.n += self.step if k is None else k
        return self.n

    def pid(self) -> int:
        return os.getpid()


def test_state_is_kept_between_calls(ray: Ray) -> None:
    counter = ray.remote(Counter).remote(10)
    assert ray.get([counter.add.remote() for _ in range(3)]) == [11, 12, 13]


def test_actors_have_processes_of_their_own(ray: Ray) -> None:
    first, second = (ray.remote(Counter).remote() for _ in range(2))
    pids = ray.get([first.pid.remote(), second.pid.remote(), first.pid.remote()])
    assert pids[0] == pids[2] != pids[1]
    assert os.getpid() not in pids


def test_creation_returns_before_the_constructor(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote
    class Slow:
        def __init__(self) -> None:
            door.wait()

        def value(self) -> int:
            return 1

    slow = Slow.remote()
    ref = slow.value.remote()
    assert ray.wait([ref], timeout=0) == ([], [ref])
    door.open()
    assert ray.get(ref) == 1


def test_inherited_overridden_and_super_methods(ray: Ray) -> None:
    class Loud(Counter):
        step = 5

        def add(self, k: int | None = None) -> int:
            return super().add(k) * 100

    loud = ray.remote(Loud).remote(1)
    assert ray.get([loud.add.remote(), loud.add.remote(k=2)]) == [600, 800]


def test_static_and_class_methods(ray: Ray) -> None:
    @ray.remote
    class Mixed:
        @staticmethod
        def static(x: int) -> int:
            return x + 1

        @classmethod
        def name(cls) -> str:
            return cls.__name__

    mixed = Mixed.remote()
    assert ray.get([mixed.static.remote(1), mixed.name.remote()]) == [2, "Mixed"]


def test_single_underscore_methods_can_be_called(ray: Ray) -> None:
    @ray.remote
    class Hidden:
        def _inner(self) -> str:
            return "called"

    assert ray.get(Hidden.remote()._inner.remote()) == "called"


def test_method_from_a_mixin(ray: Ray) -> None:
    class Mixin:
        def twice(self, x: int) -> int:
            return 2 * x

    class Both(Mixin, Counter):
        pass

    both = ray.remote(Both).remote()
    assert ray.get([both.twice.remote(4), both.add.remote()]) == [8, 1]


def test_methods_call_each_other_directly(ray: Ray) -> None:
    @ray.remote
    class Self:
        def outer(self) -> int:
            return self.inner() + 1

        def inner(self) -> int:
            return 1

    assert ray.get(Self.remote().outer.remote()) == 2


def test_actor_without_constructor_or_state(ray: Ray) -> None:
    @ray.remote
    class Empty:
        def value(self) -> None:
            return None

    assert ray.get(Empty.remote().value.remote()) is None


def test_unknown_method_is_an_attribute_error(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    with pytest.raises(AttributeError, match="nothing_like_that"):
        counter.nothing_like_that.remote()
    assert not hasattr(counter, "n")


def test_class_attributes_are_not_on_the_handle(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    with pytest.raises(AttributeError):
        assert counter.step


def test_repr_of_a_handle_names_the_class(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    assert "Counter" in repr(counter)
    assert counter._actor_id.hex() in repr(counter)


def test_ready_call_waits_for_the_constructor(ray: Ray, gate: Any) -> None:
    door = gate("door")

    class Slow(Counter):
        def __init__(self) -> None:
            door.wait()
            super().__init__()

    slow = ray.remote(Slow).remote()
    ready = slow.__ray_ready__.remote()
    assert ray.wait([ready], timeout=0)[0] == []
    door.open()
    ray.get(ready)


def test_function_run_inside_the_actor(ray: Ray) -> None:
    counter = ray.remote(Counter).remote(5)
    ref = counter.__ray_call__.remote(lambda self, k: self.n * k, 3)
    assert ray.get(ref) == 15


def test_error_in_a_method_leaves_the_actor_alive(ray: Ray) -> None:
    @ray.remote
    class Fragile:
        def __init__(self) -> None:
            self.calls = 0

        def fail(self) -> None:
            self.calls += 1
            raise AppError(3, "method")

        def count(self) -> int:
            return self.calls

    fragile = Fragile.remote()
    with pytest.raises(AppError) as caught:
        ray.get(fragile.fail.remote())
    assert caught.value.cause.code == 3
    assert ray.get(fragile.count.remote()) == 1


def test_constructor_error_fails_every_call(ray: Ray) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise AppError(9, "cannot start")

        def value(self) -> int:
            return 1

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError, match="cannot start") as caught:
            ray.get(broken.value.remote())
        assert caught.value.actor_id == broken._actor_id.hex()


def test_constructor_error_is_that_of_every_return_and_item(ray: Ray) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("no start")

        def two(self) -> tuple[int, int]:
            return 1, 2

        def items(self) -> Any:
            yield 1

    broken = Broken.remote()
    two = broken.two.options(num_returns=2).remote()
    for ref in [*two, *broken.items.remote(), *broken.two.options(num_returns=2).remote()]:
        with pytest.raises(ray.exceptions.ActorDiedError, match="no start"):
            ray.get(ref)


def test_constructor_error_names_the_class_and_shows_a_traceback(ray: Ray) -> None:
    @ray.remote
    class Broken:
        def __init__(self, path: str) -> None:
            open(path).close()

        def value(self) -> int:
            return 1

    with pytest.raises(ray.exceptions.RayActorError) as caught:
        ray.get(Broken.remote("/does/not/exist").value.remote())
    text = str(caught.value)
    assert "FileNotFoundError" in text
    assert "/does/not/exist" in text
    assert "Broken.__init__" in text


def test_failed_dependency_of_a_constructor_fails_the_calls(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("no argument")

    actor = ray.remote(Counter).remote(fail.remote())
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError, match="no argument") as caught:
            ray.get(actor.add.remote())
        assert caught.value.actor_id == actor._actor_id.hex()
        assert "Counter.__init__" in str(caught.value)


def test_failed_dependency_of_a_method_fails_that_call_only(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("no argument")

    counter = ray.remote(Counter).remote()
    bad = counter.add.remote(fail.remote())
    good = counter.add.remote(5)
    with pytest.raises(ValueError, match="no argument"):
        ray.get(bad)
    assert ray.get(good) == 5


def test_actor_creates_actors_and_tasks(ray: Ray) -> None:
    @ray.remote(num_cpus=0)
    class Parent:
        def __init__(self) -> None:
            self.child = ray.remote(num_cpus=0)(Counter).remote(100)

        def add(self) -> int:
            return int(ray.get(self.child.add.remote()))

        def task(self) -> str:
            return str(ray.get(ray.remote(lambda: "from task").remote()))

    parent = Parent.remote()
    assert ray.get([parent.add.remote(), parent.add.remote(), parent.task.remote()]) == [
        101,
        102,
        "from task",
    ]


def test_more_actors_than_cpus(ray: Ray) -> None:
    actors = [ray.remote(Counter).remote(i) for i in range(4)]
    assert ray.get([actor.add.remote() for actor in actors]) == [1, 2, 3, 4]


def test_actor_holds_a_reference_for_later(ray: Ray) -> None:
    @ray.remote
    class Holder:
        def hold(self, box: list[Any]) -> None:
            self.ref = box[0]

        def read(self) -> int:
            return len(ray.get(self.ref))

    holder = Holder.remote()
    ray.get(holder.hold.remote([ray.put(b"h" * 300_000)]))
    assert ray.get(holder.read.remote()) == 300_000


def test_actor_hands_out_references(ray: Ray) -> None:
    @ray.remote
    class Source:
        def give(self) -> list[Any]:
            return [ray.put(b"g" * 300_000), ray.put("small")]

    source = Source.remote()
    large, small = ray.get(source.give.remote())
    assert len(ray.get(large)) == 300_000
    assert ray.get(small) == "small"


def test_method_that_returns_self_cannot_be_pickled_away(ray: Ray) -> None:
    @ray.remote
    class Chain:
        def __init__(self) -> None:
            self.value = 5

        def me(self) -> Any:
            return ray.get_runtime_context().current_actor

        def get(self) -> int:
            return self.value

    chain = Chain.remote()
    again = ray.get(chain.me.remote())
    assert again == chain
    assert ray.get(again.get.remote()) == 5


def test_dunder_call(ray: Ray) -> None:
    @ray.remote
    class Callable:
        def __call__(self, x: int) -> int:
            return x * 2

    assert ray.get(Callable.remote().__call__.remote(4)) == 8


def test_graceful_end_runs_queued_calls_first(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Note:
        def note(self, i: int) -> None:
            journal.add(i)

    note = Note.remote()
    for i in range(5):
        note.note.remote(i)
    note.__ray_terminate__.remote()
    wait_until(lambda: len(journal.lines()) == 5)
    with pytest.raises(ray.exceptions.RayActorError):
        while True:
            ray.get(note.note.remote(9))


def test_a_class_that_is_called_is_named_in_full(ray: Ray) -> None:
    @ray.remote
    class Inner:
        pass

    with pytest.raises(TypeError, match="cannot be instantiated directly") as caught:
        Inner()
    name = "test_a_class_that_is_called_is_named_in_full.<locals>.Inner"
    assert f"use '{name}.remote()'" in str(caught.value)


def test_methods_with_a_decorator_that_says_nothing(ray: Ray) -> None:
    @ray.remote
    class Marked:
        @ray.method
        def bare(self) -> int:
            return 1

        @ray.method()
        def called(self) -> int:
            return 2

    marked = Marked.remote()
    assert ray.get([marked.bare.remote(), marked.called.remote()]) == [1, 2]


def test_errors_show_the_actor_by_its_repr(ray: Ray) -> None:
    class Plain:
        def fail(self) -> None:
            raise ValueError("no")

    class Own(Plain):
        def __repr__(self) -> str:
            return "<own>"

    for kind, shown in ((Plain, r"repr=<.*Plain object at 0x[0-9a-f]+>\)"), (Own, "repr=<own>")):
        with pytest.raises(ValueError, match=shown):
            ray.get(ray.remote(kind).remote().fail.remote())


def test_a_method_has_no_attributes_of_its_function(ray: Ray) -> None:
    class Plain:
        def ping(self) -> None:
            pass

    with pytest.raises(AttributeError, match="'ActorMethod' object has no attribute 'nonsense'"):
        ray.remote(Plain).remote().ping.nonsense  # noqa: B018


def test_bases_of_every_kind(ray: Ray) -> None:
    class Base:
        def names(self) -> list[str]:
            return ["Base"]

    class Left(Base):
        def names(self) -> list[str]:
            return ["Left", *super().names()]

    class Right(Base):
        def names(self) -> list[str]:
            return ["Right", *super().names()]

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self) -> float: ...

    class Both(Left, Right, Shape, Generic[T]):
        def names(self) -> list[str]:
            return ["Both", *super().names()]

        def area(self) -> float:
            return 2.0

        def order(self) -> list[str]:
            return [base.__name__ for base in type(self).__mro__]

    @dataclasses.dataclass
    class Record:
        x: int
        y: int = 2

        def total(self) -> int:
            return self.x + self.y

    both = ray.remote(Both).remote()
    assert ray.get(both.names.remote()) == ["Both", "Left", "Right", "Base"]
    assert ray.get(both.area.remote()) == 2.0
    order = ray.get(both.order.remote())
    wanted = ["Both", "Left", "Right", "Base", "Shape", "ABC", "Generic", "object"]
    assert list(dict.fromkeys(name for name in order if name in wanted)) == wanted
    assert ray.get(ray.remote(Record).remote(1).total.remote()) == 3
    assert ray.get(ray.remote(Record).remote(x=1, y=5).total.remote()) == 6
