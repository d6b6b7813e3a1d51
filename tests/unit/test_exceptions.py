"""The error classes: bases, texts, the dual class, pickling."""

from __future__ import annotations

import builtins
import pickle
from typing import Any, NoReturn

import pytest

from whipray import cloudpickle, exceptions
from whipray._private import failures, task_error
from whipray.exceptions import RayError, RayTaskError


class Detailed(Exception):
    """Its constructor takes more than its args tell."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return Detailed, (self.code, self.detail)


class Unrebuildable(Exception):
    """Can be pickled but not rebuilt."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__("one argument only")


class Unpicklable(Exception):
    """Refuses to be pickled."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("not this one")


class FixedArgs(Exception):
    """Does not let its args be set."""

    @property
    def args(self) -> tuple[Any, ...]:  # type: ignore[override]
        return ("fixed",)


class Final(Exception):
    """Can not be subclassed."""

    def __init_subclass__(cls) -> None:
        raise TypeError("final")


def raised(error: BaseException) -> RayTaskError:
    """What a worker stores when a task raises `error`, after its way to the caller."""
    try:
        raise error
    except BaseException as caught:
        stored = failures.task_failed(failures.Where("job"), caught)
    again = pickle.loads(cloudpickle.dumps(stored))
    assert isinstance(again, RayTaskError)
    return again


def test_every_listed_class_is_an_error_of_ours() -> None:
    for name in exceptions.__all__:
        cls = getattr(exceptions, name)
        assert issubclass(cls, RayError), name
        assert cls.__module__ == "whipray.exceptions"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("GetTimeoutError", TimeoutError),
        ("ActorDiedError", exceptions.RayActorError),
        ("ActorUnavailableError", exceptions.RayActorError),
        ("ObjectFreedError", exceptions.ObjectLostError),
        ("OwnerDiedError", exceptions.ObjectLostError),
        ("ReferenceCountingAssertionError", AssertionError),
        ("ActorAlreadyExistsError", ValueError),
        ("ActorHandleNotFoundError", ValueError),
        ("RayChannelTimeoutError", TimeoutError),
    ],
)
def test_bases(name: str, base: type) -> None:
    assert issubclass(getattr(exceptions, name), base)


def test_dual_is_both_and_keeps_the_cause() -> None:
    dual = raised(Detailed(7, "seven")).as_instanceof_cause()
    assert isinstance(dual, RayTaskError)
    assert isinstance(dual, Detailed)
    assert type(dual).__name__ == "RayTaskError(Detailed)"
    assert isinstance(dual.cause, Detailed)
    assert (dual.code, dual.detail) == (7, "seven")
    assert dual.args == (dual.cause,)


def test_dual_text_is_the_remote_traceback() -> None:
    text = str(raised(KeyError("missing")).as_instanceof_cause())
    assert text.startswith("ray::job() (pid=")
    assert "ip=" in text
    assert text.endswith("KeyError: 'missing'")
    assert "raise error" in text
    assert "Traceback (most recent" not in text


@pytest.mark.parametrize(
    "cause",
    [
        KeyError("k"),
        OSError(2, "No such file", "/nowhere"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        StopIteration(4),
        SyntaxError("bad", ("f.py", 1, 2, "x")),
        ImportError("no", name="mod"),
        AttributeError("no", name="a", obj=None),
        Detailed(1, "x"),
        FixedArgs(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit("g"),
        ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_dual_of_many_classes_survives_pickling(cause: BaseException) -> None:
    dual = raised(cause).as_instanceof_cause()
    assert isinstance(dual, type(cause))
    again = pickle.loads(pickle.dumps(dual))
    assert isinstance(again, type(cause))
    assert isinstance(again, RayTaskError)
    assert str(again) == str(dual)
    assert type(again.cause) is type(cause)


SPECIAL_ARGS: dict[str, tuple[Any, ...]] = {
    "UnicodeDecodeError": ("utf-8", b"x", 0, 1, "reason"),
    "UnicodeEncodeError": ("utf-8", "x", 0, 1, "reason"),
    "UnicodeTranslateError": ("x", 0, 1, "reason"),
    "ExceptionGroup": ("group", [ValueError(1)]),
}
BUILTINS = [
    value
    for value in vars(builtins).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


@pytest.mark.parametrize("base", BUILTINS, ids=lambda base: base.__name__)
def test_dual_of_every_builtin_exception_and_of_its_subclasses(base: Any) -> None:
    args = SPECIAL_ARGS.get(base.__name__, ("text",))
    for cls in (base, type("Own", (base,), {"__module__": __name__})):
        cause = cls(*args)
        dual = RayTaskError("f", "Traceback", cause).as_instanceof_cause()
        assert isinstance(dual, cls)
        assert isinstance(dual, RayTaskError)


def test_dual_of_a_group_works_with_except_star() -> None:
    dual = raised(ExceptionGroup("many", [ValueError(1), KeyError(2)])).as_instanceof_cause()
    caught: list[BaseException] = []
    try:
        raise dual
    except* ValueError as group:
        caught.extend(group.exceptions)
    except* KeyError as group:
        caught.extend(group.exceptions)
    assert {type(error) for error in caught} == {ValueError, KeyError}


def test_group_of_interrupts_can_not_be_an_exception_and_stays_a_task_error() -> None:
    error = raised(BaseExceptionGroup("more", [KeyboardInterrupt()]))
    assert error.as_instanceof_cause() is error
    assert isinstance(error.cause, BaseExceptionGroup)


def test_class_that_can_not_be_subclassed_stays_a_task_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="ray")  # which init() may have raised, in another test
    caplog.set_level("WARNING", logger="whipray")
    error = raised(Final("end"))
    assert error.as_instanceof_cause() is error
    assert isinstance(error.cause, Final)
    assert "Final" in caplog.text


def test_cause_that_can_not_be_pickled_becomes_text() -> None:
    error = raised(Unpicklable("secret text"))
    assert type(error.cause) is RayError
    assert "isn't serializable" in str(error.cause)
    assert "secret text" in str(error.cause)
    assert error.as_instanceof_cause() is error


def test_cause_that_can_not_be_rebuilt_becomes_text() -> None:
    dual = raised(Unrebuildable(1, "x")).as_instanceof_cause()
    assert isinstance(dual, exceptions.UnserializableException)
    assert "one argument only" in str(dual)


def test_chain_and_notes_arrive() -> None:
    def body() -> NoReturn:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            error = ValueError("outer")
            error.add_note("a note")
            raise error from inner

    with pytest.raises(ValueError) as info:
        body()
    dual = raised(info.value).as_instanceof_cause()
    assert isinstance(dual.__cause__, KeyError)
    assert isinstance(dual.cause.__cause__, KeyError)
    assert dual.__notes__ == ["a note"]
    assert "direct cause of the following" in str(dual)
    assert "a note" in str(dual)


def test_error_of_a_task_inside_a_task_names_both() -> None:
    inner = raised(KeyError("deep")).as_instanceof_cause()
    outer = raised(inner)
    assert isinstance(outer.cause, KeyError)
    assert not isinstance(outer.cause, RayTaskError)
    assert str(outer).count("ray::job()") >= 2


def test_error_of_an_argument_adds_a_line() -> None:
    upstream = raised(KeyError("up"))
    stored = failures.dependency_failed(failures.Where("down"), upstream)
    assert isinstance(stored, RayTaskError)
    text = str(stored)
    assert text.startswith("ray::down() (pid=")
    assert "At least one of the input arguments for this task could not be computed" in text
    assert "ray::job()" in text
    assert isinstance(stored.as_instanceof_cause(), KeyError)


def test_frames_of_the_package_are_left_out() -> None:
    def user_code() -> NoReturn:
        raise ValueError("from user code")

    with pytest.raises(ValueError) as info:
        user_code()
    text = failures.remote_traceback(info.value)
    assert "user_code" in text
    assert "_private" not in text


def test_text_of_an_actor_error_names_the_actor() -> None:
    where = failures.Where("Cls.method", "<shown>", "ab12")
    text = str(failures.task_failed(where, ValueError("x")))
    assert text.startswith("ray::Cls.method() (pid=")
    assert "actor_id=ab12, repr=<shown>)" in text


SAMPLES: list[BaseException] = [
    exceptions.TaskCancelledError("ab", "why"),
    exceptions.WorkerCrashedError("signal 9"),
    exceptions.RayActorError("ab", "text", True, False),
    exceptions.ActorDiedError({"class_name": "C", "actor_id": "ab", "message": "m"}),
    exceptions.ActorDiedError(RayTaskError("f", "Traceback (most recent call last):", KeyError())),
    exceptions.ActorUnavailableError("restarting", b"\1\2"),
    exceptions.RaySystemError("broken", "tb"),
    exceptions.ObjectLostError("ab"),
    exceptions.ObjectReconstructionFailedError("ab", reason_message="m"),
    exceptions.ObjectStoreFullError("full"),
    exceptions.OutOfMemoryError("oom"),
    exceptions.RuntimeEnvSetupError("no"),
    exceptions.GetTimeoutError("late"),
    exceptions.PendingCallsLimitExceeded("many"),
    exceptions.TaskUnschedulableError("nowhere"),
    exceptions.UnserializableException("tb"),
    exceptions.ActorAlreadyExistsError("taken"),
    exceptions.RpcError("x", 3),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_errors_keep_their_text_and_fields_in_pickles(error: BaseException) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert str(error)


CODES = [
    ("WORKER_DIED", exceptions.WorkerCrashedError),
    ("ACTOR_DIED", exceptions.ActorDiedError),
    ("ACTOR_UNAVAILABLE", exceptions.ActorUnavailableError),
    ("CANCELLED", exceptions.TaskCancelledError),
    ("OBJECT_LOST", exceptions.ObjectLostError),
    ("OOM", exceptions.OutOfMemoryError),
    ("STORE_FULL", exceptions.ObjectStoreFullError),
    ("ENV", exceptions.RuntimeEnvSetupError),
    ("SOMETHING_NEW", exceptions.RaySystemError),
]


@pytest.mark.parametrize(("code", "cls"), CODES)
def test_engine_codes(code: str, cls: type) -> None:
    error = exceptions.system_error(code, "the details", {"actor_id": b"\xab" * 16})
    assert type(error) is cls
    assert "the details" in str(error)


def test_death_of_an_actor_tells_what_is_known() -> None:
    facts = {"actor_id": b"\xab" * 16, "class_name": "Counter", "pid": 12, "name": "me"}
    error = exceptions.system_error("ACTOR_DIED", "killed by kill()", facts)
    assert isinstance(error, exceptions.ActorDiedError)
    assert error.actor_id == "ab" * 16
    for part in ("class_name: Counter", "pid: 12", "name: me", "killed by kill()"):
        assert part in str(error)


def test_constructor_failure_is_told_by_the_error() -> None:
    error = exceptions.ActorDiedError(raised(ValueError("ctor")))
    assert error.actor_init_failed
    assert "raised in its creation task" in str(error)
    assert "ValueError: ctor" in str(error)


def test_values_that_are_no_exceptions_are_reported() -> None:
    told = exceptions.exception_from_value(3)
    assert isinstance(told, exceptions.RaySystemError) and "error value" in str(told)
    crashed = exceptions.WorkerCrashedError()
    assert exceptions.exception_from_value(crashed) is crashed
    assert isinstance(exceptions.exception_from_value(raised(KeyError("k"))), KeyError)


def test_retry_filters_look_at_the_cause() -> None:
    dual = raised(KeyError("k")).as_instanceof_cause()
    assert failures.retried(dual, (KeyError,))
    assert failures.retried(exceptions.UserCodeException(), None)
    assert not failures.retried(ValueError(), (KeyError,))
    assert not failures.retried(SystemExit(), None)
    assert task_error.survives(ValueError("x")) is None
