"""A worker's side of tasks and actors: what the C loop asks of Python.

`running` says what this process is.  A pool worker runs tasks in the C loop; so does a
synchronous actor, with the table of bound methods that `construct` returns.  Threaded and
asynchronous actors are served by `serve_threads`, `serve_async` and `serve_groups`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any, NoReturn

from whipray import _core
from whipray._private import actor_table, failures, loading, signatures, timeline, worker
from whipray._private.failures import Where

TASK, CREATION, CALL = 0, 1, 2
_UNHEARD = "Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1')"

current = _core.job_context
"""The job that a thread or coroutine serves; elsewhere `_core.current_job()` knows."""


class Actor:
    """The actor that this process is."""

    def __init__(self, cls: type[Any], order: list[str], orders: dict[str, Any]) -> None:
        self.cls = cls
        self.order = order
        self.name: str = orders["name"]
        self.max_concurrency: int = orders["max_concurrency"]
        self.groups: dict[str, int] = orders["groups"]
        self.held: dict[str, float] = orders["held"]
        self.captures: bool | None = orders.get("captures")
        self.room: int = orders.get("room", 0)
        self.instance: Any = None
        self.shown = cls.__name__
        self.leaving = False
        self.served = False
        self.is_async = actor_table.Table(cls).is_async
        self.wake: Callable[[], None] = lambda: None
        self.retry_filters: dict[str, Any] = {}

    def construct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the instance."""
        self.instance = self.cls(*args, **kwargs)
        self._take_repr()

    async def construct_on_loop(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the instance; its `__init__` may be a coroutine."""
        cls: Any = self.cls
        if not signatures.is_coroutine(cls.__init__):
            self.construct(args, kwargs)
            return
        instance = cls.__new__(cls)
        await cls.__init__(instance, *args, **kwargs)
        self.instance = instance
        self._take_repr()

    def _take_repr(self) -> None:
        """The instance's repr names the actor in logs if the class has one of its own."""
        own_repr: Any = type(self.instance).__repr__
        if own_repr is not object.__repr__:
            try:
                self.shown = repr(self.instance)
            except Exception:
                self.shown = self.cls.__name__

    def bound(self) -> list[Any]:
        """Callables by method number."""
        builtin = [_ready, self._call_function, self._terminate]
        names = self.order[len(builtin) :]
        methods = [_bound(self.instance, name) for name in names]
        if timeline.enabled():
            shown = [f"{self.cls.__name__}.{name}" for name in names]
            methods = [timeline.timed(*pair) for pair in zip(methods, shown, strict=True)]
        return builtin + methods

    def _call_function(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self.instance, *args, **kwargs)

    def _terminate(self) -> NoReturn:
        leave_actor()

    def where(self, job: _core.Job) -> Where:
        """What error texts say about a call."""
        name = job.name if job.named else self.full_name(job)
        return Where(name, self._repr(), self.id_hex())

    def _repr(self) -> str:
        own_repr: Any = type(self.instance).__repr__
        plain = self.instance is not None and own_repr is object.__repr__
        return object.__repr__(self.instance) if plain else self.shown

    def full_name(self, job: _core.Job) -> str:
        """Class.method."""
        method = "__init__" if job.kind == CREATION else self.order[job.method]
        return f"{self.cls.__name__}.{method}"

    def id_hex(self) -> str | None:
        """The actor's id."""
        return _own_id()


def _own_id() -> str | None:
    """Id of the actor that this process is, or becomes."""
    try:
        own = _core.current_actor_bytes()
    except Exception:
        return None  # the session is ending
    return None if own is None else own.hex()


def _ready() -> bool:
    return True


def _bound(instance: Any, name: str) -> Any:
    """A method, or what a call of a method that the instance lacks now raises."""
    try:
        found = getattr(instance, name)
        count = getattr(found, actor_table.MARK, {}).get("_num_objects_per_yield") or 1
        if count == 1:
            return found
        from whipray._private.ungroup import ungrouped

        return ungrouped(found, count)
    except AttributeError as error:
        text = str(error)

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            raise AttributeError(text)

        return missing


class Running:
    """What this process is at the moment."""

    actor: Actor | None = None
    broken: str | None = None
    """Why the environment of this worker could not be set up."""


running = Running()


def leave_actor() -> NoReturn:
    """exit_actor(): queued calls fail, the process ends, and it is not restarted."""
    actor = running.actor
    if actor is None:
        raise TypeError(
            "exit_actor API is called on a non-actor worker. Call this API inside an actor's "
            "methods if you'd like to exit the actor gracefully."
        )
    actor.leaving = True
    _core.actor_exit()
    actor.wake()
    if actor.is_async and current.get(None) is not None:
        from whipray.exceptions import AsyncioActorExit

        raise AsyncioActorExit()
    raise SystemExit(0)


# ---- the handlers of worker_loop -----------------------------------------------------------------


class Handlers:
    """The object given to `_core.worker_loop`."""

    def load(self, payload: bytes, kind: int) -> tuple[Any, str]:
        """An exported function or class, with its display name."""
        if running.broken is not None:
            return _never_called, "task"
        return loading.load(payload, kind)

    def construct(
        self, job: _core.Job, loaded: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Become an actor: a list of bound methods, or a function that serves its calls."""
        if running.broken is not None:
            _never_called()
        cls, order, _ = loaded
        actor = running.actor = Actor(cls, order, args[-1])
        actor.retry_filters = _retry_filters(cls, order)
        if "GPU" in actor.held:
            from whipray._private import gpus

            gpus.show()
        if actor.captures is not None:
            worker.state.group = (job.group, actor.captures)
            _core.set_context(actor.captures)
        if actor.room:
            _core.limit_streams(actor.room)
        threads = worker.thread_count(actor.held)
        if threads is not None:
            os.environ[worker.THREADS] = threads
        if actor.is_async and actor.groups:
            from whipray._private.serve_groups import GroupServer

            return GroupServer(actor).construct(job, args[:-1], kwargs)
        if actor.is_async:
            from whipray._private.serve_async import AsyncServer

            return AsyncServer(actor).construct(job, args[:-1], kwargs)
        actor.construct(args[:-1], kwargs)
        _core.set_title(f"ray::{cls.__name__}")
        if actor.max_concurrency == 1 and not actor.groups:
            return actor.bound()
        from whipray._private.serve_threads import ThreadServer

        actor.served = True
        return ThreadServer(actor).run

    def dependency_failed(self, job: _core.Job, value: Any) -> BaseException:
        """The error of a job whose argument is an error value."""
        error = failures.dependency_failed(where(job), value)
        return _creation_error(error) if job.kind == CREATION else error

    def failed(self, job: _core.Job, error: BaseException) -> BaseException | None:
        """The error value of a job that raised; None if it was queued again; raises to leave."""
        return failed(job, error)

    def fill(self, job: _core.Job, result: Any) -> None:
        """Store the returns of a job with several, or of a generator."""
        fill(job, result)


def _never_called(*args: Any, **kwargs: Any) -> NoReturn:
    """In place of what needs the environment that is not there; `failed` says what is wrong."""
    raise RuntimeError(running.broken)


def _retry_filters(cls: type[Any], order: list[str]) -> dict[str, Any]:
    """Methods whose @method names the exceptions to retry."""
    found = {}
    for name in order:
        marks = getattr(getattr(cls, name, None), actor_table.MARK, {})
        if isinstance(marks.get("retry_exceptions"), list | tuple):
            found[name] = tuple(marks["retry_exceptions"])
    return found


def where(job: _core.Job) -> Where:
    """What error texts say about a job."""
    actor = running.actor
    if actor is not None:
        return actor.where(job)
    if job.kind == TASK:
        return Where(job.name or loading.missing or "task")
    shown = job.name or loading.missing or "actor"
    return Where(f"{shown}.__init__", shown, _own_id())


def failed(job: _core.Job, error: BaseException) -> BaseException | None:
    """See Handlers.failed."""
    from whipray.exceptions import AsyncioActorExit, DependencyFailed, TaskCancelledError

    if running.broken is not None:
        return _broken(job)
    if isinstance(error, DependencyFailed):
        return Handlers().dependency_failed(job, error.value)
    if isinstance(error, SystemExit | AsyncioActorExit):
        return _leave(job, error)
    if isinstance(error, KeyboardInterrupt) or _cancelled_async(job, error):
        cancelled = TaskCancelledError(_task_id(job))
        if job.cancelled:
            return cancelled
        if isinstance(error, KeyboardInterrupt):  # its own doing: the text tells where
            cancelled.__traceback__ = error.__traceback__
        else:
            cancelled.__cause__ = error
        return failures.task_failed(where(job), cancelled)
    if job.retry_exceptions and not job.returned and failures.retried(error, _wanted(job)):
        if job.retry():
            return None
    found = failures.task_failed(where(job), error)
    if job.kind == CREATION:
        return _creation_error(found)
    if job.unheard and "RAY_IGNORE_UNHANDLED_ERRORS" not in os.environ:
        print(f"{_UNHEARD}: {found}", file=sys.stderr, flush=True)
    return found


def cancel_children(job: _core.Job) -> None:
    """What a cancelled job has submitted until now ends too, if its caller has asked for that."""
    with contextlib.suppress(Exception):  # it ends itself all the same
        job.cancel_children()


def _broken(job: _core.Job) -> BaseException:
    """The answer to every job of a worker without its environment; an actor ends with it."""
    from whipray.exceptions import RuntimeEnvSetupError

    if job.kind == CREATION:
        _core.quit_soon()
    return RuntimeEnvSetupError(running.broken)


def _cancelled_async(job: _core.Job, error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    return job.cancelled or (running.actor is not None and running.actor.is_async)


def _task_id(job: _core.Job) -> Any:
    from whipray._private.ids import TaskID

    return TaskID(job.task_id)


def _wanted(job: _core.Job) -> Any:
    if job.wanted is not None:
        return job.wanted
    if running.actor is not None and job.kind == CALL:
        return running.actor.retry_filters.get(running.actor.order[job.method])
    return loading.extras(job.fn).get("retry_exceptions")


def _creation_error(error: Any) -> BaseException:
    """What every call on an actor gets whose constructor failed; the process ends with it."""
    from whipray.exceptions import ActorDiedError

    _core.quit_soon()
    died = ActorDiedError(error)
    # Who never calls the actor learns of it from its output alone.
    print(f"Exception raised in creation task: {died}", file=sys.stderr, flush=True)
    return died


def _leave(job: _core.Job, error: BaseException) -> BaseException:
    """The job wants its process to end: an actor on purpose, or a task by sys.exit.

    The C loop leaves by itself after it has stored what is returned; a server written in Python
    gets the exception.
    """
    actor = running.actor
    code = getattr(error, "code", 0)
    if actor is not None and (actor.leaving or code in (0, None)):
        if not actor.leaving:
            actor.leaving = True
            _core.actor_exit()
        if not actor.served:
            return _exited(actor)
        _core.finish_job(job, _exited(actor), True)
    raise error


def _exited(actor: Actor) -> BaseException:
    from whipray.exceptions import ActorDiedError

    return ActorDiedError(
        {
            "class_name": actor.cls.__name__,
            "actor_id": actor.id_hex(),
            "pid": os.getpid(),
            "name": actor.name,
            "message": "The actor exited by itself: exit_actor() is called.",
        }
    )


def fill(job: _core.Job, result: Any) -> None:
    """Store each of several returns: what a generator yields, or the items of a sequence.

    Values that were stored stay when a later one fails. A generator is not asked for more than
    fits, so that it may be endless.
    """
    if job.dynamic:
        job.store(_dynamic(job, result))
        return
    count = job.nreturns
    if isinstance(result, AsyncGeneratorType):
        raise TypeError("'async_generator' object is not iterable")
    if not isinstance(result, GeneratorType):
        try:
            found = len(result)
        except TypeError:
            raise TypeError(
                f"Task returned an object of type '{type(result).__name__}', which has no len(), "
                f"but num_returns={count}."
            ) from None
        if found != count:
            raise ValueError(f"Task returned {found} objects, but num_returns={count}.")
    stored = 0
    for value in itertools.islice(result, count):
        job.store(value)
        stored += 1
    if stored < count:
        raise ValueError(f"Task returned {stored} objects, but num_returns={count}.")


def _dynamic(job: _core.Job, result: Any) -> Any:
    """Store each item that is yielded as an object of its own; the value is the list of them.

    What the body raises is the last one.
    """
    from whipray._private.generators import DynamicObjectRefGenerator

    refs = []
    try:
        for value in result:
            refs.append(_core.put(value))
    except Exception as error:
        refs.append(_core.put_error(failures.task_failed(where(job), error)))
    return DynamicObjectRefGenerator(refs)
