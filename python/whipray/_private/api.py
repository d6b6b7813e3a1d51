"""The public functions that are not needed by every program at import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol, TypeVar, overload

from whipray import _core
from whipray._core import ActorHandle, ObjectRef, Stream
from whipray._private import hooks, options, signatures, worker
from whipray.actor import ActorClass
from whipray.remote_function import (
    ConfiguredFunction,
    CountedFunction,
    GeneratorFunction,
    RemoteFunction,
)

T = TypeVar("T")
W = TypeVar("W")
"""An ObjectRef or an ObjectRefGenerator."""

_USAGE = (
    "The @ray.remote decorator must be applied either with no arguments and no parentheses, for "
    "example '@ray.remote', or it must be applied using some of the arguments in the list {}, for "
    "example '@ray.remote(num_returns=2, resources={{\"CustomResource\": 1}})'."
)


class Decorator(Protocol):
    """`remote(**options)`, as type checkers see it."""

    @overload
    def __call__(self, given: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, given: Callable[..., Iterator[T]], /
    ) -> GeneratorFunction[T]: ...
    @overload
    def __call__(self, given: Callable[..., T], /) -> RemoteFunction[T]: ...


@overload
def remote(definition: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
@overload
def remote(  # type: ignore[overload-overlap]
    definition: Callable[..., Iterator[T]], /
) -> GeneratorFunction[T]: ...
@overload
def remote(definition: Callable[..., T], /) -> RemoteFunction[T]: ...
@overload
def remote(
    *, num_returns: int | str, **task_options: Any
) -> Callable[[Callable[..., Any]], CountedFunction]: ...
@overload
def remote(**task_or_actor_options: Any) -> Decorator: ...


def remote(*args: Any, **given: Any) -> Any:
    """Make a function a task or a class an actor class.

    Used bare, or with options: `@remote(num_cpus=2)`; `remote(f)` and `remote(num_cpus=2)(f)` work
    on what is defined already.  ValueError and TypeError for wrong options.
    """
    if len(args) == 1 and not given:
        return _make(args[0], {})
    if args or not given:
        raise TypeError(_USAGE.format(sorted({*options.TASK, *options.ACTOR})))
    return lambda definition: _make(definition, given)


_REMOTE_ALREADY = (RemoteFunction, ConfiguredFunction, ActorClass, _core.TaskSubmitter)


def _make(definition: Any, given: dict[str, Any]) -> Any:
    if isinstance(definition, _REMOTE_ALREADY):
        raise TypeError(f"{definition!r} is remote already; the decorator is applied once.")
    if isinstance(definition, type):
        options.check_actor(given, in_options=False)
        _refuse_abstract(definition)
        return ActorClass(definition, dict(given))
    if not _is_function(definition):
        raise TypeError(
            "The @ray.remote decorator must be applied to either a function or a class, not "
            f"{definition!r}."
        )
    options.check_task(given, in_options=False)
    options.check_returns(given, signatures.is_generator(definition))
    return RemoteFunction(definition, dict(given))


def _refuse_abstract(cls: type[Any]) -> None:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        methods = f"abstract method{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise TypeError(
            f"Can't instantiate abstract class ActorClass({cls.__name__}) with {methods}"
        )


def _is_function(definition: Any) -> bool:
    """Functions, built-ins and what wraps them; not any object that can be called."""
    if isinstance(definition, FunctionType | BuiltinFunctionType | MethodType):
        return True
    return callable(definition) and (hasattr(definition, "__wrapped__") or _is_cython(definition))


def _is_cython(definition: Any) -> bool:
    return type(definition).__name__ in ("cython_function_or_method", "fused_cython_function")


def is_initialized() -> bool:
    """True while a session is open in this process."""
    return _core.attached()


def wait(
    ray_waitables: list[W],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[W], list[W]]:
    """(ready, not ready), each in the order given; ready has at most num_returns references.

    Waits until num_returns of them are ready or `timeout` seconds have passed.  An
    ObjectRefGenerator among them is ready when its next item is, or its end.
    """
    refs: Any = ray_waitables
    if not isinstance(refs, list):
        shown = (
            f"got a single ray.ObjectRef or ray.ObjectRefGenerator {refs}"
            if isinstance(refs, ObjectRef | Stream)
            else (f"got {type(refs)}")
        )
        raise TypeError(f"{_WAIT_TAKES}, {shown}")
    hooks.check_timeout(timeout)
    worker.ensure_attached(refs[0] if refs else None)
    if not refs:
        return [], []
    if type(num_returns) is not int:
        num_returns = _whole(num_returns)
    _check_count(refs, num_returns)
    try:
        return _core.wait(refs, num_returns, timeout)
    except TypeError:
        _check_types(refs)
        raise


_WAIT_TAKES = "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator"


def _check_types(refs: list[Any]) -> None:
    for ref in refs:
        if not isinstance(ref, ObjectRef | Stream):
            raise TypeError(f"{_WAIT_TAKES}, got list containing {type(ref)}")


def _whole(num_returns: Any) -> int:
    """A float counts as far as it is whole, and True as one, as in Ray."""
    if not isinstance(num_returns, (int, float)):
        raise TypeError(f"num_returns must be an int, not {num_returns!r}")
    return int(num_returns)


def _check_count(refs: list[ObjectRef[T]], num_returns: int) -> None:
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}.")
    if num_returns > len(refs):
        raise ValueError(
            "num_returns cannot be greater than the number of ray_waitables provided to ray.wait."
        )


def cancel(
    ray_waitable: ObjectRef[Any] | Stream[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel a task: queued, it never runs; running, it gets a KeyboardInterrupt.

    With `force` its process is ended.  Calls of async actors are cancelled as asyncio does it;
    other running calls only see `get_runtime_context().is_canceled()`.  With `recursive` the tasks
    and calls that a running task has submitted are cancelled too, and theirs.  Nothing happens to
    finished work.
    """
    if isinstance(ray_waitable, Stream):
        ray_waitable = ray_waitable.completed()
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            "ray.cancel() only supported for object refs. For actors, try ray.kill(). "
            f"Got: {type(ray_waitable)}."
        )
    worker.ensure_attached(ray_waitable)
    if force and _core.is_actor_task(ray_waitable):
        raise ValueError("force=True is not supported for actor tasks.")
    _core.cancel(ray_waitable, force, recursive)


def kill(actor: Any, *, no_restart: bool = True) -> None:
    """End an actor's process at once; its pending calls fail.

    With no_restart=False it is started again if its max_restarts allows.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(
            "ray.kill() only supported for actors. For tasks, try ray.cancel(). "
            f"Got: {type(actor)}."
        )
    worker.ensure_attached(actor)
    _core.kill(actor, no_restart)


def get_actor(name: str, namespace: str | None = None) -> Any:
    """The handle of a named actor; ValueError if there is none, or it is dead."""
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if not isinstance(name, str):
        raise TypeError(f"the name of an actor is a string, not {name!r}")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    worker.ensure_attached()
    found = _core.get_actor(name, namespace or worker.state.namespace)
    if found is None:
        raise ValueError(
            f"Failed to look up actor with name '{name}'. It was never created, it has died, or "
            "it lives in another namespace than the one that was searched "
            f"('{namespace or worker.state.namespace}')."
        )
    return found


def get_gpu_ids() -> list[int | str]:
    """Ids of the GPUs that the task or actor may use."""
    from whipray._private import gpus

    worker.ensure_attached()
    return gpus.assigned() if _core.gpu_ids() else []
