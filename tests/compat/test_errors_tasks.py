"""Errors of tasks: both RayTaskError and the user's class, with cause, text and traceback."""

from __future__ import annotations

import asyncio
import pickle
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import AppError, Ray


class Odd(Exception):
    """Cannot be built from its own arguments."""

    def __init__(self, a: int, *, b: int) -> None:
        super().__init__(f"odd {a} {b}")
        self.a, self.b = a, b


class Stateful(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def describe(self) -> str:
        return f"described {self.value}"


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot travel")
        self.secret = (i for i in range(3))


def raising(ray: Ray, error: BaseException) -> Any:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise error

    return fail.remote()


def caught(ray: Ray, ref: Any) -> BaseException:
    with pytest.raises(ray.exceptions.RayError) as info:
        ray.get(ref)
    return info.value


ERRORS: list[Exception] = [
    ValueError("v"),
    KeyError("k"),
    ZeroDivisionError("z"),
    FileNotFoundError(2, "No such file", "/nowhere"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    StopIteration(5),
    AssertionError(),
    TimeoutError("t"),
    OSError(5, "io"),
    RuntimeError(),
    NotImplementedError("n"),
    AppError(7, "seven"),
    Stateful(3),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_is_a_task_error_and_the_users_class(ray: Ray, error: Exception) -> None:
    got = caught(ray, raising(ray, error))
    assert isinstance(got, ray.exceptions.RayTaskError)
    assert isinstance(got, type(error))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_cause_is_the_original(ray: Ray, error: Exception) -> None:
    cause = caught(ray, raising(ray, error)).cause  # type: ignore[attr-defined]
    assert type(cause) is type(error)
    assert cause.args == error.args


def test_name_of_the_class_shows_both(ray: Ray) -> None:
    assert type(caught(ray, raising(ray, KeyError("k")))).__name__ == "RayTaskError(KeyError)"


def test_attributes_and_methods_are_forwarded(ray: Ray) -> None:
    got: Any = caught(ray, raising(ray, Stateful(4)))
    assert got.value == 4
    assert got.describe() == "described 4"


def test_repr_shows_the_original(ray: Ray) -> None:
    got: Any = caught(ray, raising(ray, KeyError("k")))
    assert repr(got) == "RayTaskError(KeyError)(KeyError('k'))"
    assert len(got.args) == 1 and repr(got.args[0]) == "KeyError('k')"


def test_repr_of_the_users_class_is_kept(ray: Ray) -> None:
    class Shown(Exception):
        def __repr__(self) -> str:
            return f"Shown: {self.args}"

    got: Any = caught(ray, raising(ray, Shown("s")))
    assert repr(got) == f"Shown: {got.args}"


def test_args_are_those_of_the_original(ray: Ray) -> None:
    got: Any = caught(ray, raising(ray, AppError(7, "seven")))
    assert (got.cause.code, got.cause.detail) == (7, "seven")
    assert got.code == 7


def test_text_is_the_remote_traceback(ray: Ray) -> None:
    @ray.remote
    def outer_function() -> None:
        def inner_function() -> None:
            raise ValueError("the message")

        inner_function()

    text = str(caught(ray, outer_function.remote()))
    assert "outer_function()" in text.splitlines()[0]
    assert "pid=" in text.splitlines()[0]
    assert "inner_function" in text
    assert text.rstrip().endswith("ValueError: the message")
    assert "test_errors_tasks.py" in text


def test_local_traceback_shows_the_remote_one(ray: Ray) -> None:
    try:
        ray.get(raising(ray, ValueError("shown")))
    except ValueError:
        assert "ray::fail()" in traceback.format_exc()


def test_exception_chain_is_in_the_text(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    text = str(caught(ray, fail.remote()))
    assert "KeyError: 'first'" in text
    assert "direct cause" in text
    assert "ValueError: second" in text


def test_implicit_context_is_in_the_text(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904

    assert "During handling" in str(caught(ray, fail.remote()))


def test_notes_are_kept(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        error = ValueError("noted")
        error.add_note("a helpful remark")
        raise error

    assert "a helpful remark" in str(caught(ray, fail.remote()))


def test_class_defined_in_the_task(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        class Local(Exception):
            pass

        raise Local("from there")

    got = caught(ray, fail.remote())
    assert "from there" in str(got)
    assert "Local" in type(got).__name__


def test_exception_with_keyword_only_arguments(ray: Ray) -> None:
    got = caught(ray, raising_odd(ray))
    assert isinstance(got, ray.exceptions.RayError)
    assert "odd 1 2" in str(got)


def raising_odd(ray: Ray) -> Any:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise Odd(1, b=2)

    return fail.remote()


def test_exception_that_cannot_be_pickled(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise Unpicklable

    assert "cannot travel" in str(caught(ray, fail.remote()))


@pytest.fixture
def only_in_workers(ray: Ray, tmp_path: Path) -> Callable[[], None]:
    """Raises `Hidden("went missing")` of a module that the driver can not import."""
    module = f"hidden_{tmp_path.name}"
    source = """
        class Hidden(Exception): pass
        def fail(): raise Hidden("went missing")
    """
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))

    def fail() -> None:
        import importlib
        import sys

        sys.path.insert(0, str(tmp_path))
        importlib.import_module(module).fail()

    return fail


def test_exception_of_a_class_that_the_driver_can_not_import(
    ray: Ray, only_in_workers: Callable[[], None]
) -> None:
    @ray.remote
    def depends(value: None) -> None:
        pass

    failed = ray.remote(only_in_workers).remote()
    for ref in (failed, depends.remote(failed)):
        with pytest.raises(ray.exceptions.UnserializableException, match="Hidden: went missing"):
            ray.get(ref)


def test_exception_caused_by_one_that_the_driver_can_not_import(
    ray: Ray, only_in_workers: Callable[[], None]
) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        try:
            only_in_workers()
        except Exception as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="Hidden: went missing") as caught:
        ray.get(fail.remote())
    assert "outer" in str(caught.value)


def test_exception_that_holds_a_value_which_the_driver_can_not_import(
    ray: Ray, only_in_workers: Callable[[], None]
) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        try:
            only_in_workers()
        except Exception as error:
            missing = error
        raise ValueError("holds", missing)

    with pytest.raises(ray.exceptions.UnserializableException, match="holds"):
        ray.get(fail.remote())


def test_constructor_that_raises_what_the_driver_can_not_import(
    ray: Ray, only_in_workers: Callable[[], None]
) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            only_in_workers()

        def ping(self) -> None:
            pass

    with pytest.raises(ray.exceptions.RayError, match="Hidden: went missing"):
        ray.get(Actor.remote().ping.remote())


def test_final_exception_class_gives_a_plain_task_error(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        class Final(Exception):
            def __init_subclass__(cls, **kwargs: Any) -> None:
                raise TypeError("no subclasses")

        raise Final("last of its kind")

    got = caught(ray, fail.remote())
    assert isinstance(got, ray.exceptions.RayTaskError)
    assert "last of its kind" in str(got)


class FixedArgs(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        return ("fixed",)


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"frozen: {name}")


class WithSlots(Exception):
    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class Kind(type):
    pass


class OfAKind(Exception, metaclass=Kind):
    pass


class Stop(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [FixedArgs("x"), WithSlots(5), OfAKind("x"), StopIteration("x")], ids=repr
)
def test_exceptions_of_unusual_classes_are_of_both_classes(ray: Ray, error: Exception) -> None:
    got = caught(ray, raising(ray, error))
    assert isinstance(got, ray.exceptions.RayTaskError) and isinstance(got, type(error))
    assert type(got.cause) is type(error) and got.cause.args == error.args
    assert str(error) in str(got)


def test_an_exception_that_can_not_be_changed_gives_a_plain_task_error(ray: Ray) -> None:
    got = caught(ray, raising(ray, Frozen("x")))
    assert type(got) is ray.exceptions.RayTaskError
    assert type(got.cause) is Frozen and "Frozen: x" in str(got)


@pytest.mark.parametrize(
    "error", [Stop("x"), asyncio.CancelledError("x"), GeneratorExit("x")], ids=repr
)
def test_what_is_no_exception_can_be_caught_as_a_task_error(ray: Ray, error: BaseException) -> None:
    got = caught(ray, raising(ray, error))
    assert isinstance(got, ray.exceptions.RayTaskError) and isinstance(got, Exception)
    assert type(got.cause) is type(error)
    assert ray.get(ray.remote(lambda: 1).remote()) == 1


def test_keyboard_interrupt_of_a_task_is_told_as_cancelled(ray: Ray) -> None:
    got = caught(ray, raising(ray, KeyboardInterrupt()))
    assert isinstance(got, ray.exceptions.TaskCancelledError)


def test_a_group_that_is_no_exception_gives_a_plain_task_error(ray: Ray) -> None:
    group = BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one")])
    got = caught(ray, raising(ray, group))
    assert type(got) is ray.exceptions.RayTaskError
    assert isinstance(got.cause, BaseExceptionGroup) and len(got.cause.exceptions) == 2


def test_group_of_exceptions(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    with pytest.raises(ExceptionGroup) as info:
        ray.get(fail.remote())
    assert isinstance(info.value, ray.exceptions.RayTaskError)
    assert [type(error) for error in info.value.exceptions] == [ValueError, KeyError]


def test_group_is_split_by_except_star(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    seen = []
    try:
        ray.get(fail.remote())
    except* ValueError:
        seen.append("value")
    except* KeyError:
        seen.append("key")
    assert seen == ["value", "key"]


def test_error_can_be_pickled_again(ray: Ray) -> None:
    got: Any = caught(ray, raising(ray, AppError(1, "again")))
    copy = pickle.loads(ray.cloudpickle.dumps(got))
    assert isinstance(copy, ray.exceptions.RayTaskError)
    assert "again" in str(copy)


def test_as_instanceof_cause(ray: Ray) -> None:
    got: Any = caught(ray, raising(ray, KeyError("k")))
    assert isinstance(got.as_instanceof_cause(), KeyError)


def test_error_caught_in_a_task_and_raised_again(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def inner() -> None:
        raise KeyError("deep")

    @ray.remote(max_retries=0)
    def outer() -> None:
        ray.get(inner.remote())

    got = caught(ray, outer.remote())
    assert isinstance(got, KeyError)
    assert "ray::inner()" in str(got)
    assert "ray::outer()" in str(got)


def test_error_of_an_actor_method_names_class_and_method(ray: Ray) -> None:
    @ray.remote
    class Failing:
        def method(self) -> None:
            raise ValueError("in a method")

    got = caught(ray, Failing.remote().method.remote())
    assert isinstance(got, ValueError)
    assert "Failing.method" in str(got)


def test_returned_exception_is_a_value(ray: Ray) -> None:
    assert isinstance(ray.get(ray.remote(lambda: ValueError("value")).remote()), ValueError)


def test_error_stays_while_others_succeed(ray: Ray) -> None:
    bad = raising(ray, ValueError("bad"))
    good = [ray.remote(lambda i=i: i).remote() for i in range(5)]
    assert ray.get(good) == list(range(5))
    with pytest.raises(ValueError):
        ray.get([*good, bad])


def test_hierarchy_of_exceptions(ray: Ray) -> None:
    e = ray.exceptions
    for name in (
        "RayTaskError RayActorError TaskCancelledError WorkerCrashedError ObjectStoreFullError "
        "GetTimeoutError ObjectLostError OwnerDiedError RaySystemError RuntimeEnvSetupError "
        "PendingCallsLimitExceeded OutOfMemoryError NodeDiedError AsyncioActorExit"
    ).split():
        assert issubclass(getattr(e, name), e.RayError)
    assert issubclass(e.ActorDiedError, e.RayActorError)
    assert issubclass(e.ActorUnavailableError, e.RayActorError)
    assert issubclass(e.OwnerDiedError, e.ObjectLostError)
    assert issubclass(e.GetTimeoutError, TimeoutError)
    assert issubclass(e.ActorAlreadyExistsError, ValueError)
    assert issubclass(e.RayError, Exception)
