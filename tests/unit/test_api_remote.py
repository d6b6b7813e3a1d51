"""The decorator and its wrappers, as far as they need no session."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

import whipray
from whipray import cloudpickle
from whipray._private import loading
from whipray._private.exporting import FUNCTION, dumps_definition, full_name, task_extras
from whipray.actor import ActorClass, ActorClassInheritanceException
from whipray.remote_function import KEPT_CONFIGURATIONS, RemoteFunction


def add(a: int, b: int = 1) -> int:
    """Adds."""
    return a + b


class Counter:
    """Counts."""

    start = 5

    def __init__(self, first: int, *, step: int = 1) -> None:
        self.value = first
        self.step = step

    def up(self) -> int:
        self.value += self.step
        return self.value


def test_remote_function_looks_like_the_function() -> None:
    task: Any = whipray.remote(add)
    assert isinstance(task, RemoteFunction)
    assert getattr(task, "__name__", None) == "add"
    assert task.__doc__ == "Adds."
    assert inspect.signature(task) == inspect.signature(add)
    assert task._function is add


def test_forms_of_the_decorator() -> None:
    assert isinstance(whipray.remote(num_cpus=2)(add), RemoteFunction)
    assert isinstance(whipray.remote(Counter), ActorClass)
    assert isinstance(whipray.remote(max_restarts=2)(Counter), ActorClass)


@pytest.mark.parametrize("wrong", [3, "add", None, [add]])
def test_other_things_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        whipray.remote(wrong)


def test_decorator_without_options_in_parentheses_is_refused() -> None:
    with pytest.raises(TypeError, match="parentheses"):
        whipray.remote()
    with pytest.raises(TypeError):
        whipray.remote(add, num_cpus=1)  # type: ignore[call-overload]


def test_remote_of_remote_is_refused() -> None:
    with pytest.raises(TypeError, match="remote already"):
        whipray.remote(whipray.remote(add))
    with pytest.raises(TypeError, match="remote already"):
        whipray.remote(whipray.remote(Counter))


def test_direct_calls_name_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"add\.remote\(\)"):
        whipray.remote(add)(1)
    with pytest.raises(TypeError, match=r"Counter\.remote\(\)"):
        whipray.remote(Counter)(1)


def test_actor_class_shows_the_class() -> None:
    wrapper = whipray.remote(Counter)
    assert wrapper.__name__ == "Counter"
    assert wrapper.__doc__ == "Counts."
    assert wrapper.start == 5
    assert wrapper.__ray_metadata__.modified_class is Counter
    with pytest.raises(AttributeError):
        _ = wrapper.nothing_of_the_kind


def test_actor_class_is_no_base_class() -> None:
    wrapper: Any = whipray.remote(Counter)
    with pytest.raises(ActorClassInheritanceException, match="Counter"):

        class Sub(wrapper):  # type: ignore[misc]
            pass


def test_constructor_arguments_are_checked_before_anything_starts() -> None:
    wrapper = whipray.remote(Counter)
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"other": 2})]:
        with pytest.raises(TypeError):
            wrapper.remote(*args, **kwargs)
    assert not whipray.is_initialized()


def test_wrappers_can_be_pickled() -> None:
    task = pickle.loads(cloudpickle.dumps(whipray.remote(num_cpus=2)(add)))
    assert task._function(1) == 2
    assert task._default_options == {"num_cpus": 2}
    wrapper = pickle.loads(cloudpickle.dumps(whipray.remote(Counter)))
    assert wrapper.__ray_metadata__.class_name == "Counter"


def test_function_that_refers_to_itself_can_be_pickled() -> None:
    @whipray.remote
    def down(n: int) -> Any:
        return down if n == 0 else n

    again = pickle.loads(cloudpickle.dumps(down))
    assert again._function(3) == 3
    assert again._function(0)._function(4) == 4


def test_options_make_a_wrapper_of_their_own() -> None:
    task = whipray.remote(num_cpus=2)(add)
    other = task.options(num_cpus=1, name="shown")
    assert task._default_options == {"num_cpus": 2}
    assert other._options == {"num_cpus": 1, "name": "shown"}
    with pytest.raises(ValueError, match="nonsense"):
        task.options(nonsense=1)


def test_names_are_short_and_full() -> None:
    def inner() -> None: ...

    assert full_name(inner) == f"{__name__}.inner"
    function, shown = loading.load(dumps_definition((add, full_name(add)), add), FUNCTION)
    assert function(1, b=2) == 3
    assert shown == "add"
    assert loading.full_name(function) == f"{__name__}.add"


def test_definition_that_can_not_be_pickled_is_named() -> None:
    import threading

    lock = threading.Lock()

    def uses_lock() -> Any:
        return lock

    with pytest.raises(TypeError, match=r"uses_lock.*lock"):
        dumps_definition(uses_lock, uses_lock)


def test_large_definitions_warn() -> None:
    data = b"x" * (11 << 20)

    def heavy() -> int:
        return len(data)

    with pytest.warns(UserWarning, match="heavy"):
        dumps_definition(heavy, heavy)


def test_extras_are_what_only_the_worker_needs() -> None:
    given = {"num_cpus": 1.0, "name": "n", "retry_exceptions": [KeyError], "max_calls": 3}
    assert task_extras(given) == {"retry_exceptions": (KeyError,), "max_calls": 3}
    assert task_extras({"name": "n" * 200}) == {"name": "n" * 200}  # no task can carry that itself
    assert task_extras({"retry_exceptions": True, "max_calls": 0}) == {}
    assert task_extras({"num_cpus": 2}) == {"resources": {"CPU": 2.0}}


def test_wrappers_of_the_same_few_options_are_kept() -> None:
    @whipray.remote(num_cpus=2)
    def f() -> None:
        pass

    assert f.options(num_cpus=1) is f.options(num_cpus=1)
    assert f.options(num_cpus=1)._options["num_cpus"] == 1
    assert f.options()._options == f._default_options
    assert f.options(num_cpus=1, max_retries=0) is not f.options(num_cpus=1)
    for other in ({"name": "n"}, {"resources": {"a": 1}}, {"scheduling_strategy": "SPREAD"}):
        assert f.options(**other) is not f.options(**other)
    for _ in range(2):  # equal to what is kept, but not the same
        with pytest.raises(TypeError, match="num_cpus"):
            f.options(num_cpus="1")
        with pytest.raises(ValueError, match="max_retries"):
            f.options(max_retries=-2)
    for n in range(3 * KEPT_CONFIGURATIONS):
        assert f.options(num_cpus=n)._options["num_cpus"] == n
    assert len(f._configured) <= KEPT_CONFIGURATIONS


def test_public_names_exist() -> None:
    for name in whipray.__all__:
        assert getattr(whipray, name) is not None
    assert set(whipray.__all__) <= set(dir(whipray))
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = whipray.nothing_here


def test_wrapper_shows_the_documentation_of_what_it_wraps_or_none() -> None:
    def documented() -> None:
        """Words."""

    def silent() -> None:
        pass

    assert whipray.remote(documented).__doc__ == "Words."
    assert whipray.remote(silent).__doc__ is None


def test_names_that_only_ray_has_say_so() -> None:
    with pytest.raises(AttributeError, match=r"serve.*Ray has it"):
        _ = whipray.serve  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"spark.*Ray has it"):
        _ = whipray.util.spark  # type: ignore[attr-defined]
    assert not hasattr(whipray, "no_such_name")
