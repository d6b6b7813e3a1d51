"""Exceptions of tasks: their classes, texts, causes and ways."""

from __future__ import annotations

import pickle
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


class Custom(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class OddArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("only one")
        self.both = (a, b)


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("no subclasses")


class WithSlots(Exception):
    __slots__ = ("extra",)

    def __init__(self, extra: str) -> None:
        super().__init__(extra)
        self.extra = extra


RAISED: dict[str, Any] = {
    "value": ValueError("boom"),
    "key": KeyError("k"),
    "zero": ZeroDivisionError("division by zero"),
    "no text": RuntimeError(),
    "several arguments": ValueError(1, "two", [3]),
    "os": OSError(2, "No such file"),
    "missing file": FileNotFoundError(2, "No such file", "name"),
    "stop iteration": StopIteration("s"),
    "assertion": AssertionError("not so"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "custom": Custom(7, "d"),
    "odd arguments": OddArguments(1, 2),
    "final": Final("f"),
    "slots": WithSlots("s"),
    "timeout": TimeoutError("t"),
    "memory": MemoryError("m"),
    "name": NameError("n"),
    "group": ExceptionGroup("several", [ValueError(1), KeyError(2)]),
    "several lines": ValueError("first\nsecond"),
    "not implemented": NotImplementedError("later"),
}


def fail_with(ray: Ray, error: BaseException) -> Any:
    @ray.remote(max_retries=0)
    def fail() -> None:
        raise error

    return fail.remote()


@program(each=RAISED)
def raised_in_a_task(ray: Ray, error: Exception) -> Any:
    return attempt(lambda: ray.get(fail_with(ray, error)))


@program(each={key: RAISED[key] for key in ("value", "key", "custom", "os", "group", "slots")})
def caught_by_its_own_class(ray: Ray, error: Exception) -> Any:
    try:
        ray.get(fail_with(ray, error))
    except type(error) as caught:
        cause = getattr(caught, "cause", None)
        return [type(cause).__name__, list(cause.args) if cause is not None else None]
    except Exception as other:
        return ["not caught", other]
    return "nothing raised"


@program
def attributes_are_passed_on(ray: Ray) -> Any:
    try:
        ray.get(fail_with(ray, Custom(7, "d")))
    except Custom as error:
        return [error.code, error.detail]
    return None


@program
def caught_as_task_error(ray: Ray) -> Any:
    try:
        ray.get(fail_with(ray, ValueError("x")))
    except ray.exceptions.RayTaskError as error:
        return [type(error).__name__, error.cause]
    return None


@program
def text_names_function_and_error(ray: Ray) -> Any:
    try:
        ray.get(fail_with(ray, ValueError("told")))
    except ValueError as error:
        lines = str(error).splitlines()
        return [lines[0].split("(")[0], lines[-1], any("raise error" in line for line in lines)]
    return None


@program
def chained(ray: Ray) -> Any:
    @ray.remote
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    try:
        ray.get(fail.remote())
    except ValueError as error:
        return ["inner" in str(error), "direct cause" in str(error)]
    return None


@program
def dependency(ray: Ray) -> Any:
    identity = ray.remote(lambda x: x)
    return attempt(lambda: ray.get(identity.remote(fail_with(ray, KeyError("first")))))


@program
def dependency_of_dependency(ray: Ray) -> Any:
    ref = fail_with(ray, ValueError("origin"))
    for _ in range(4):
        ref = ray.remote(lambda x: x).remote(ref)
    return attempt(lambda: ray.get(ref))


@program
def dependency_is_not_run(ray: Ray) -> Any:
    @ray.remote
    def append(path: list[int], x: int) -> list[int]:
        return [*path, x]

    good = append.remote([], 1)
    bad = append.remote(good, fail_with(ray, ValueError("no")))
    return [ray.get(good), attempt(lambda: ray.get(bad), text=False)]


@program
def nested_failure(ray: Ray) -> Any:
    @ray.remote
    def inner() -> None:
        raise ValueError("deep")

    @ray.remote
    def outer() -> Any:
        return ray.get(inner.remote())

    return attempt(lambda: ray.get(outer.remote()))


@program
def nested_failure_handled(ray: Ray) -> Any:
    @ray.remote
    def inner() -> None:
        raise ValueError("deep")

    @ray.remote
    def outer() -> str:
        try:
            ray.get(inner.remote())
        except ValueError as error:
            return str(error).splitlines()[-1]
        return "nothing"

    return ray.get(outer.remote())


@program
def error_raised_again_elsewhere(ray: Ray) -> Any:
    ref = fail_with(ray, ValueError("again"))
    first = attempt(lambda: ray.get(ref))
    return [first, attempt(lambda: ray.get(ref)), attempt(lambda: ray.get([ref, ref]))]


@program(differs="the error of a task can be pickled, whatever its class")
def error_can_be_pickled(ray: Ray) -> Any:
    try:
        ray.get(fail_with(ray, Custom(3, "p")))
    except Custom as error:
        return pickle.loads(pickle.dumps(error))
    return None


@program
def error_as_a_value(ray: Ray) -> Any:
    return ray.get(ray.remote(lambda: ValueError("value, not raised")).remote())


@program
def error_put(ray: Ray) -> Any:
    return ray.get(ray.put(KeyError("put")))


@program
def first_error_of_a_list(ray: Ray) -> Any:
    refs = [ray.put(1), fail_with(ray, KeyError("a")), fail_with(ray, ValueError("b"))]
    ray.wait(refs, num_returns=3)
    return attempt(lambda: ray.get(refs))


@program
def several_returns_fail_together(ray: Ray) -> Any:
    @ray.remote(num_returns=3, max_retries=0)
    def fail() -> None:
        raise IndexError("all")

    return [attempt(lambda ref=ref: ray.get(ref)) for ref in fail.remote()]


@program
def result_that_cannot_be_pickled(ray: Ray) -> Any:
    import threading

    return attempt(lambda: ray.get(ray.remote(lambda: threading.Lock()).remote()), text=False)


@program
def error_that_cannot_be_pickled(ray: Ray) -> Any:
    import threading

    @ray.remote(max_retries=0)
    def fail() -> None:
        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    return attempt(lambda: ray.get(fail.remote()), text=False)


@program
def system_exit_in_a_task(ray: Ray) -> Any:
    @ray.remote(max_retries=0)
    def leave() -> None:
        raise SystemExit(3)

    return attempt(lambda: ray.get(leave.remote()), text=False)


@program
def process_dies(ray: Ray) -> Any:
    @ray.remote(max_retries=0)
    def die() -> None:
        import os

        os._exit(4)

    return attempt(lambda: ray.get(die.remote()), text=False)


@program(each={"none": 0, "one": 1, "two": 2})
def attempts_after_a_crash(ray: Ray, retries: int) -> Any:
    import os
    import tempfile

    folder = tempfile.mkdtemp()

    @ray.remote(max_retries=retries)
    def die() -> None:
        with open(f"{folder}/log", "a") as log:
            log.write("x")
        os._exit(1)

    outcome = attempt(lambda: ray.get(die.remote()), text=False)
    with open(f"{folder}/log") as log:
        return [outcome, len(log.read())]


@program(each={"off": False, "on": True, "listed": [ValueError], "other": [KeyError]})
def attempts_after_an_exception(ray: Ray, retry_exceptions: Any) -> Any:
    import tempfile

    folder = tempfile.mkdtemp()

    @ray.remote(max_retries=2, retry_exceptions=retry_exceptions)
    def fail() -> None:
        with open(f"{folder}/log", "a") as log:
            log.write("x")
        raise ValueError("again")

    outcome = attempt(lambda: ray.get(fail.remote()))
    with open(f"{folder}/log") as log:
        return [outcome, len(log.read())]


@program
def succeeds_at_the_third_attempt(ray: Ray) -> Any:
    import tempfile

    folder = tempfile.mkdtemp()

    @ray.remote(max_retries=5, retry_exceptions=True)
    def fail() -> int:
        with open(f"{folder}/log", "a+") as log:
            log.write("x")
            log.seek(0)
            count = len(log.read())
        if count < 3:
            raise ValueError(count)
        return count

    return ray.get(fail.remote())


EXCEPTIONS = (
    "RayError",
    "RayTaskError",
    "TaskCancelledError",
    "WorkerCrashedError",
    "LocalRayletDiedError",
    "RaySystemError",
    "RayActorError",
    "ActorDiedError",
    "ActorUnavailableError",
    "ObjectLostError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "OwnerDiedError",
    "ObjectReconstructionFailedError",
    "ObjectStoreFullError",
    "OutOfDiskError",
    "OutOfMemoryError",
    "NodeDiedError",
    "GetTimeoutError",
    "PlasmaObjectNotAvailable",
    "AsyncioActorExit",
    "RuntimeEnvSetupError",
    "TaskPlacementGroupRemoved",
    "ActorPlacementGroupRemoved",
    "PendingCallsLimitExceeded",
    "TaskUnschedulableError",
    "ActorUnschedulableError",
    "CrossLanguageError",
    "UserCodeException",
    "ObjectRefStreamEndOfStreamError",
    "RayChannelError",
    "RayChannelTimeoutError",
    "ActorAlreadyExistsError",
    "ActorHandleNotFoundError",
    "AuthenticationError",
    "RpcError",
)


@program(each={name: name for name in EXCEPTIONS})
def classes(ray: Ray, name: str) -> Any:
    kind = getattr(ray.exceptions, name)
    public = [base for base in kind.__mro__ if not base.__name__.startswith("_")]
    return [base.__name__ for base in public if issubclass(base, BaseException)]
