"""remote() on functions and classes in every form, and what the results look like."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Point, Ray


def module_level(x: int) -> int:
    """Doubles."""
    return 2 * x


def test_bare_decorator_on_a_function(ray: Ray) -> None:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    assert ray.get(add.remote(1, 2)) == 3


def test_decorator_with_options_on_a_function(ray: Ray) -> None:
    @ray.remote(num_cpus=0.5, num_returns=2, max_retries=1)
    def pair() -> tuple[int, int]:
        return 1, 2

    assert ray.get(pair.remote()) == [1, 2]


def test_remote_called_with_a_function(ray: Ray) -> None:
    assert ray.get(ray.remote(module_level).remote(4)) == 8


def test_remote_with_options_called_with_a_function(ray: Ray) -> None:
    assert ray.get(ray.remote(num_cpus=1)(module_level).remote(4)) == 8


def test_remote_of_a_lambda(ray: Ray) -> None:
    assert ray.get(ray.remote(lambda x: x + 1).remote(1)) == 2


def test_remote_of_a_wrapped_function(ray: Ray) -> None:
    def twice(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(x: int) -> int:
            return function(function(x))

        return wrapper

    @ray.remote
    @twice
    def add_three(x: int) -> int:
        return x + 3

    assert ray.get(add_three.remote(1)) == 7


def test_bare_decorator_on_a_class(ray: Ray) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self, k: int = 1) -> int:
            self.n += k
            return self.n

    counter = Counter.remote()
    assert ray.get([counter.add.remote(), counter.add.remote(5)]) == [1, 6]


def test_decorator_with_options_on_a_class(ray: Ray) -> None:
    @ray.remote(num_cpus=0, max_concurrency=1)
    class Echo:
        def say(self, what: str) -> str:
            return what

    assert ray.get(Echo.remote().say.remote("x")) == "x"


def test_remote_called_with_an_imported_class(ray: Ray) -> None:
    class Sized(Point):
        def total(self) -> int:
            return self.x + self.y

    assert ray.get(ray.remote(Sized).remote(1, 2).total.remote()) == 3


def test_remote_with_options_called_with_a_class(ray: Ray) -> None:
    class Plain:
        def value(self) -> int:
            return 3

    assert ray.get(ray.remote(num_cpus=0)(Plain).remote().value.remote()) == 3


def test_positional_arguments_to_remote_are_refused(ray: Ray) -> None:
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(1)(module_level)


def test_remote_without_arguments_is_refused(ray: Ray) -> None:
    with pytest.raises((TypeError, AssertionError)):
        ray.remote()


def test_remote_of_something_that_cannot_be_called_is_refused(ray: Ray) -> None:
    with pytest.raises((TypeError, AssertionError)):
        ray.remote("text")


def test_remote_of_a_remote_function_is_refused(ray: Ray) -> None:
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(ray.remote(module_level))


def test_direct_call_of_a_remote_function_names_remote(ray: Ray) -> None:
    with pytest.raises(TypeError, match=r"\.remote\("):
        ray.remote(module_level)(1)


def test_direct_creation_of_an_actor_names_remote(ray: Ray) -> None:
    with pytest.raises(TypeError, match=r"\.remote\("):
        ray.remote(Point)(1, 2)


def test_remote_function_keeps_the_function(ray: Ray) -> None:
    task = ray.remote(module_level)
    assert task._function is module_level


def test_options_override_one_call_only(ray: Ray) -> None:
    @ray.remote
    def pair() -> tuple[int, int]:
        return 1, 2

    assert ray.get(pair.options(num_returns=2).remote()) == [1, 2]
    assert ray.get(pair.remote()) == (1, 2)


def test_options_of_a_class_leave_the_class_alone(ray: Ray) -> None:
    @ray.remote
    class Named:
        def name(self) -> str | None:
            return ray.get_runtime_context().get_actor_name()

    with_name = Named.options(name="options of a class")
    assert ray.get(with_name.remote().name.remote()) == "options of a class"
    assert not ray.get(Named.remote().name.remote())


def test_options_object_can_be_reused(ray: Ray) -> None:
    task = ray.remote(module_level).options(num_cpus=1)
    assert ray.get([task.remote(i) for i in range(3)]) == [0, 2, 4]


def test_method_options(ray: Ray) -> None:
    @ray.remote
    class Pairs:
        def pair(self) -> tuple[int, int]:
            return 1, 2

    first, second = Pairs.remote().pair.options(num_returns=2).remote()
    assert ray.get([second, first]) == [2, 1]


def test_method_decorator_sets_num_returns(ray: Ray) -> None:
    @ray.remote
    class Pairs:
        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

    refs = Pairs.remote().pair.remote()
    assert len(refs) == 2
    assert ray.get(refs) == [1, 2]


def test_a_method_tells_wrappers_its_name_and_number_of_returns(ray: Ray) -> None:
    @ray.remote
    class Plain:
        def value(self) -> int:
            return 3

        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

        def count(self) -> Iterator[int]:
            yield from range(3)

    actor = Plain.remote()
    methods = [actor.value, actor.pair, actor.count]
    assert [method._num_returns for method in methods] == [1, 2, "streaming"]
    assert [method._method_name for method in methods] == ["value", "pair", "count"]


def test_direct_call_of_an_actor_method_is_refused(ray: Ray) -> None:
    @ray.remote
    class Plain:
        def value(self) -> int:
            return 3

    actor = Plain.remote()
    with pytest.raises(TypeError, match=r"remote"):
        actor.value()


def test_inheriting_from_a_remote_class_is_refused(ray: Ray) -> None:
    base = ray.remote(Point)
    with pytest.raises(TypeError):

        class Derived(base):  # type: ignore[misc, valid-type]
            pass


def test_redefined_function_of_one_name(ray: Ray) -> None:
    def make(k: int) -> Any:
        @ray.remote
        def f() -> int:
            return k

        return f

    first, second = make(1), make(2)
    assert ray.get([first.remote(), second.remote(), first.remote()]) == [1, 2, 1]


def test_names_of_arguments_and_text_outside_ascii(ray: Ray) -> None:
    @ray.remote
    def add(été: str) -> str:
        """Größe."""
        return été + "→"

    @ray.remote
    class Echo:
        def wert(self, straße: str) -> str:
            return "✓" + straße

    assert ray.get(add.remote(été="日本")) == "日本→"
    assert ray.get(Echo.remote().wert.remote(straße="é")) == "✓é"


@pytest.mark.ray_differs("its workers crash on names that are not ASCII")
def test_names_of_functions_and_classes_outside_ascii(ray: Ray) -> None:
    @ray.remote
    def größe(été: str) -> str:
        return été + "→"

    @ray.remote
    class Zähler:
        def wert(self) -> str:
            return "✓"

    assert ray.get(größe.remote(été="日本")) == "日本→"
    assert ray.get(Zähler.remote().wert.remote()) == "✓"


def test_function_with_a_recursive_closure(ray: Ray) -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert ray.get(ray.remote(factorial).remote(20)) == math.factorial(20)


def test_closure_captures_its_values_at_first_use(ray: Ray) -> None:
    scale = 3
    times = ray.remote(lambda x: operator.mul(x, scale))
    assert ray.get(times.remote(5)) == 15


def test_many_functions(ray: Ray) -> None:
    tasks = [ray.remote(lambda i=i: i * i) for i in range(40)]
    assert ray.get([task.remote() for task in tasks]) == [i * i for i in range(40)]


def test_function_that_pickles_too_large_is_refused(ray: Ray) -> None:
    ballast = b"x" * (100 * 1024 * 1024)
    heavy = ray.remote(lambda: len(ballast))
    with pytest.raises(ValueError, match="too large"):
        heavy.remote()


def test_calls_go_through_the_invocation_decorator(ray: Ray) -> None:
    def swapped(invoke: Any) -> Any:
        return lambda args, kwargs: (invoke(args[::-1], {"c": 5}), kwargs)

    def plain(a: int, b: int, c: int = 0) -> tuple[int, int, int]:
        return a, b, c

    plain.__ray_invocation_decorator__ = swapped  # type: ignore[attr-defined]
    ref, kwargs = ray.remote(plain).remote(1, 2, c=3)
    assert (ray.get(ref), kwargs) == ((2, 1, 5), {"c": 3})
    ref, _ = ray.remote(plain).options(num_cpus=0).remote(1, 2)
    assert ray.get(ref) == (2, 1, 5)


def test_the_remote_of_a_function_is_a_value(ray: Ray) -> None:
    double = ray.remote(module_level)
    call = ray.remote(lambda submit: ray.get(submit(4)))
    assert ray.get(call.remote(double.remote)) == 8
    assert ray.get(call.remote(double.options(num_cpus=0).remote)) == 8
    assert ray.get(ray.get(ray.put([double.remote]))[0](5)) == 10
    submit = functools.partial(double.remote, 6)
    assert ray.get(ray.remote(lambda: ray.get(submit())).remote()) == 12


def test_a_function_submits_itself_by_its_remote(ray: Ray) -> None:
    @ray.remote
    def depth(n: int, step: int = 1) -> int:
        return 0 if n <= 0 else 1 + ray.get(again(n - step))  # type: ignore[no-any-return]

    again = depth.remote
    assert ray.get(again(3)) == 3


def test_remote_shows_what_it_runs(ray: Ray) -> None:
    remote = ray.remote(module_level).remote
    assert inspect.signature(remote) == inspect.signature(module_level)
    assert (remote.__name__, remote.__doc__) == ("module_level", "Doubles.")


def test_functions_and_classes_of_one_name_do_not_meet(ray: Ray) -> None:
    def function(n: int) -> Any:
        def same() -> int:
            return n

        return ray.remote(same)

    def actor(n: int) -> Any:
        class Same:
            def value(self) -> int:
                return n

        return ray.remote(num_cpus=0)(Same).remote()

    functions, actors = [function(n) for n in range(6)], [actor(n) for n in range(3)]
    for _ in range(3):
        assert ray.get([each.remote() for each in functions]) == list(range(6))
        assert ray.get([each.value.remote() for each in actors]) == [0, 1, 2]


def test_an_abstract_class_is_refused_where_it_is_decorated(ray: Ray) -> None:
    import abc

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self) -> float: ...

    class Square(Shape):
        def area(self) -> float:
            return 4.0

    with pytest.raises(TypeError, match=r"abstract class ActorClass\(Shape\).* area"):
        ray.remote(Shape)
    assert ray.get(ray.remote(Square).remote().area.remote()) == 4.0
