"""How a RayTaskError looks, travels and becomes an instance of the user's own class.

Imported by `whipray.exceptions`; the error classes are reached through the module at call time,
because each of the two needs the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whipray.exceptions import RayTaskError

DEPENDENCY_NOTE = "  At least one of the input arguments for this task could not be computed:"
_MAX_CHAIN = 16
"""Causes of causes that travel with an error."""
_SHOWN_AT_ENDS = 8
"""Tasks at each end of a chain of failed ones that the text of an error tells of."""
_LEFT_OUT = "\n({} more tasks)\n"


def text(error: RayTaskError) -> str:
    """The remote traceback, headed by the function and process that raised it."""
    head = f"{error.proctitle}() (pid={error.pid}, ip={error.ip}"
    if error.actor_repr:
        head += f", actor_id={error._actor_id}, repr={error.actor_repr}"
    head += ")"
    lines = error.traceback_str.strip("\n").split("\n")
    return "\n".join(head if line.startswith("Traceback (most") else line for line in lines)


def without_middle(text: str) -> str:
    """The text of a chain of tasks that failed because of their arguments: the ends of a long one.

    Each error holds the text of the one before, so a whole chain would cost the square of it."""
    links = text.split(DEPENDENCY_NOTE)
    if len(links) <= 2 * _SHOWN_AT_ENDS:
        return text
    first, last = links[:_SHOWN_AT_ENDS], links[-_SHOWN_AT_ENDS:]
    number = sum(_tasks_in(link) for link in links[_SHOWN_AT_ENDS:-_SHOWN_AT_ENDS])
    return DEPENDENCY_NOTE.join([*first, _LEFT_OUT.format(number), *last])


def _tasks_in(link: str) -> int:
    number = link.strip("\n(").partition(" ")[0]
    return int(number) if link == _LEFT_OUT.format(number) else 1


# ---- travelling ----------------------------------------------------------------------------------


def reduce(error: RayTaskError) -> tuple[Any, ...]:
    """`__reduce__` of a RayTaskError: also the chain of causes, which pickle leaves out."""
    arguments = (
        error.function_name,
        error.traceback_str,
        error.cause,
        error.proctitle,
        error.pid,
        error.ip,
        error.actor_repr,
        error._actor_id,
    )
    return _rebuild, (arguments, _chain(error.cause))


def _rebuild(arguments: tuple[Any, ...], chain: list[tuple[str, BaseException, bool]]) -> Any:
    from whipray.exceptions import RayTaskError

    error = RayTaskError(*arguments)
    at: BaseException = error.cause
    for kind, linked, suppress in chain:
        if kind == "cause":
            at.__cause__ = linked
        else:
            at.__context__ = linked
        at.__suppress_context__ = suppress
        at = linked
    return error


def _chain(error: BaseException) -> list[tuple[str, BaseException, bool]]:
    """The exceptions that led to `error`, nearest first, up to one that can not be pickled."""
    found: list[tuple[str, BaseException, bool]] = []
    seen = {id(error)}
    while len(found) < _MAX_CHAIN:
        suppress = error.__suppress_context__
        kind, linked = "cause", error.__cause__
        if linked is None and not suppress:
            kind, linked = "context", error.__context__
        if linked is None or id(linked) in seen or survives(linked) is not None:
            break
        found.append((kind, linked, suppress))
        seen.add(id(linked))
        error = linked
    return found


def survives(error: BaseException) -> BaseException | None:
    """None if `error` can be pickled and rebuilt, else what went wrong."""
    if _is_simple(error):
        return None
    import pickle

    from whipray._private import serialization

    try:
        data = serialization.dumps(error)
    except Exception as failure:
        return Unpicklable(failure)
    try:
        again = pickle.loads(data)
    except Exception as failure:
        return failure
    return None if isinstance(again, BaseException) else TypeError("not an exception any more")


def _is_simple(error: BaseException) -> bool:
    """One of Python's own, made of constants: it is known to survive."""
    kind = type(error)
    own = not kind.__flags__ & _HEAP_TYPE and kind.__module__ == "builtins"
    return own and not error.__dict__ and all(type(part) in _CONSTANTS for part in error.args)


_CONSTANTS = frozenset((str, int, float, bool, bytes, type(None)))


class Unpicklable(Exception):
    """The exception can not even be pickled."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


def portable_cause(cause: BaseException, traceback_str: str) -> tuple[BaseException, str]:
    """`cause` itself if it can travel, else an error whose text tells what it was, and why."""
    failure = survives(cause)
    if failure is None:
        return cause, ""
    from whipray.exceptions import RayError, UnserializableException

    name = type(cause).__name__
    if not isinstance(failure, Unpicklable):
        return UnserializableException(traceback_str), not_rebuilt(name, failure)
    error = RayError(
        f"Exception {type(cause).__module__}.{name} isn't serializable: {failure.reason}.\n"
        f"Original exception details:\n{traceback_str}"
    )
    return error, f"({name} can not be pickled: {failure.reason})\n"


def not_rebuilt(name: str, failure: BaseException) -> str:
    """What is added to the text of an error whose cause, `name`, is lost because of `failure`."""
    advice = "" if isinstance(failure, ImportError) else f" {_ADVICE}"
    return f"({name} is not rebuilt where it is caught: {failure}.{advice})\n"


def without_cause(arguments: tuple[Any, ...], why: str) -> RayTaskError:
    """The error that `reduce` wrote, when its cause can not be rebuilt."""
    from whipray.exceptions import RayTaskError, UnserializableException

    name, told, _, *rest = arguments
    told = told.rstrip("\n")
    return RayTaskError(name, f"{told}\n{why}", UnserializableException(told), *rest)


_ADVICE = (
    "Exceptions are rebuilt from their args: hand all that __init__ takes to super().__init__(), "
    "or define __reduce__."
)


# ---- both classes at once ------------------------------------------------------------------------


def dual_or_self(error: RayTaskError) -> RayTaskError:
    """The dual object; `error` with a warning where its cause's class refuses."""
    try:
        return dual_instance(error)
    except Exception as failure:
        import logging

        logging.getLogger("whipray").warning(
            "The exception class %s can not be combined with RayTaskError (%s); the error is "
            "raised as RayTaskError only, its `cause` is the original exception.",
            type(error.cause),
            failure,
        )
        return error


def dual_instance(error: RayTaskError) -> RayTaskError:
    """An instance of a class derived from RayTaskError and the class of the cause."""
    cls = dual_class(type(error.cause))
    dual = cls(error.cause)
    for name in _TASK_FIELDS:
        dual.__dict__[name] = error.__dict__.get(name)
    linked: RayTaskError = _linked(dual, error.cause)
    return linked


_TASK_FIELDS = (
    "function_name",
    "traceback_str",
    "proctitle",
    "pid",
    "ip",
    "actor_repr",
    "_actor_id",
)


def _linked(dual: Any, cause: BaseException) -> Any:
    """Let the dual show the chain of its cause, and its notes."""
    dual.__cause__ = cause.__cause__
    dual.__context__ = cause.__context__
    dual.__suppress_context__ = cause.__suppress_context__
    notes = getattr(cause, "__notes__", None)
    if isinstance(notes, list):
        dual.__dict__["__notes__"] = list(notes)
    return dual


def dual_class(cause_cls: type[BaseException]) -> Any:
    """A class (RayTaskError, cause_cls); TypeError when cause_cls can not be a base.

    Those for Python's own classes are kept; the others are fresh, and go with what they are of.
    """
    found = _dual_classes.get(cause_cls)
    if found is None:
        found = _make_dual_class(cause_cls)
        if not cause_cls.__flags__ & _HEAP_TYPE:
            _dual_classes[cause_cls] = found
    return found


_dual_classes: dict[type[BaseException], Any] = {}


def _make_dual_class(cause_cls: type[BaseException]) -> Any:
    from whipray.exceptions import RayTaskError

    body: dict[str, Any] = {
        "__init__": _dual_init,
        "__reduce__": _dual_reduce,
        "__getattr__": _dual_getattr,
        "__str__": text,
        "args": property(_dual_args, _set_dual_args),
        "__module__": RayTaskError.__module__,
    }
    if issubclass(cause_cls, BaseExceptionGroup):
        body["__new__"] = _group_new
        body["derive"] = _group_derive
    else:
        body["__new__"] = _dual_new
    if cause_cls.__repr__ is BaseException.__repr__:
        body["__repr__"] = _dual_repr
    return type(f"RayTaskError({cause_cls.__name__})", (RayTaskError, cause_cls), body)


def _dual_new(cls: Any, cause: BaseException) -> Any:
    """Only the built-in part is made here: a user's own __new__ may want other arguments.

    Which built-in class lays the object out is said by __base__, not by the order of the bases.
    """
    native = cls
    while native.__flags__ & _HEAP_TYPE:
        native = native.__base__
    return native.__new__(cls)


_HEAP_TYPE = 1 << 9
"""Flag of classes made by Python code (Py_TPFLAGS_HEAPTYPE)."""


def _dual_init(self: Any, cause: BaseException) -> None:
    self.__dict__["cause"] = cause
    self.__dict__["_dual_args"] = (cause,)


def _group_new(cls: Any, cause: Any) -> Any:
    return BaseExceptionGroup.__new__(cls, cause.message, cause.exceptions)


def _group_derive(self: Any, exceptions: Any) -> Any:
    return self.cause.derive(exceptions)


def _dual_args(self: Any) -> tuple[Any, ...]:
    return self.__dict__.get("_dual_args", ())  # type: ignore[no-any-return]


def _set_dual_args(self: Any, value: tuple[Any, ...]) -> None:
    self.__dict__["_dual_args"] = value


def _dual_repr(self: Any) -> str:
    """As BaseException's, which does not look at the property `args`."""
    arguments = repr(self.args) if len(self.args) != 1 else f"({self.args[0]!r})"
    return f"{type(self).__name__}{arguments}"


def _dual_getattr(self: Any, name: str) -> Any:
    cause = self.__dict__.get("cause")
    if cause is None:
        raise AttributeError(name)
    return getattr(cause, name)


def _dual_reduce(self: Any) -> tuple[Any, ...]:
    """Pickled as its two halves; the class is made again on the other side."""
    from whipray.exceptions import RayTaskError

    fields = {name: self.__dict__.get(name) for name in _TASK_FIELDS}
    plain = RayTaskError(
        fields["function_name"],
        fields["traceback_str"],
        self.cause,
        fields["proctitle"],
        fields["pid"],
        fields["ip"],
        fields["actor_repr"],
        fields["_actor_id"],
    )
    return _rebuild_dual, (plain,)


def _rebuild_dual(plain: RayTaskError) -> RayTaskError:
    return plain.as_instanceof_cause()


# ---- what the engine reports ---------------------------------------------------------------------


def from_code(code: str, message: str, extra: dict[str, Any]) -> BaseException:
    """The exception for an engine's error; `extra` has facts such as actor_id, pid, class_name."""
    from whipray import exceptions as e

    if code == "ACTOR_DIED":
        return _actor_died(message, extra)
    if code == "TASK_GROUP_REMOVED":
        return e.TaskPlacementGroupRemoved()
    if code == "ACTOR_GROUP_REMOVED":
        return e.ActorPlacementGroupRemoved()
    if code == "ACTOR_UNSCHEDULABLE":
        return e.ActorUnschedulableError(_facts_in(message)[0])
    if code == "ACTOR_UNAVAILABLE":
        text, facts = _facts_in(message)
        return e.ActorUnavailableError(text, _hex(extra.get("actor_id")) or facts.get("actor_id"))
    if code == "CANCELLED":
        return _cancelled(message)
    if code == "OBJECT_LOST":
        return e.ObjectLostError(_hex(extra.get("object")) or message)
    if code == "UNRECONSTRUCTABLE":
        return _unreconstructable(message)
    if code == "WORKER_DIED":
        return e.WorkerCrashedError(message)
    if code == "OOM":
        return e.OutOfMemoryError(message)
    if code in ("STORE_FULL", "NO_ROOM"):
        return e.ObjectStoreFullError(message)
    if code == "END_OF_STREAM":
        return e.ObjectRefStreamEndOfStreamError(message)
    if code == "ENV":
        return e.RuntimeEnvSetupError(message)
    return e.RaySystemError(f"{code}: {message}")


def _cancelled(message: str) -> BaseException:
    from whipray._private.ids import TaskID
    from whipray.exceptions import TaskCancelledError

    text, facts = _facts_in(message)
    task = facts.get("task_id")
    return TaskCancelledError(task and TaskID.from_hex(task), text or None)


# Why a lost value could not be computed again: the ends of Ray's names for it.
_UNRECONSTRUCTABLE = {
    "MAX_ATTEMPTS_EXCEEDED": "its task has been run as often as max_retries allows; "
    "@remote(max_retries=N) allows more",
    "RETRIES_DISABLED": "its task was not to be run again: it has max_retries=0, or had used up "
    "its retries",
    "LINEAGE_EVICTED": "what is known of its task had to be dropped: more than "
    "RAY_max_lineage_bytes (1 GiB by default) would have been kept",
    "TASK_CANCELLED": "the job of its task has ended",
}


def _unreconstructable(message: str) -> BaseException:
    from whipray.exceptions import ObjectReconstructionFailedError

    reason, facts = _facts_in(message)
    why = _UNRECONSTRUCTABLE.get(reason, reason)
    return ObjectReconstructionFailedError(
        facts.get("object_id", ""),
        f"OBJECT_UNRECONSTRUCTABLE_{reason}",
        f"The object was lost and cannot be reconstructed: {why}.",
    )


def _actor_died(message: str, extra: dict[str, Any]) -> BaseException:
    from whipray.exceptions import ActorDiedError

    creation = extra.get("creation")
    if isinstance(creation, bytes):
        stored = _stored_error(creation)
        if stored is not None:
            return stored
    text, found = _facts_in(message)
    facts = {**found, **extra, "message": text}
    facts["actor_id"] = _hex(facts.get("actor_id"))
    facts["last_call"] = _method_name(facts["actor_id"], found.get("last_call"))
    facts.pop("creation", None)
    return ActorDiedError(facts)


def _facts_in(message: str) -> tuple[str, dict[str, str]]:
    """The engine's sentence, and what it adds in lines of the form `<tab>name: value`."""
    lines = message.splitlines()
    facts = (line.strip().partition(": ") for line in lines if line[:1] == "\t")
    text = "\n".join(line for line in lines if line[:1] != "\t")
    return text, {name: value for name, colon, value in facts if colon}


def _method_name(actor_id: str | None, number: str | None) -> str | None:
    """The name of an actor's method, while somebody has a handle."""
    from whipray import _core

    if actor_id is None or number is None:
        return None
    try:
        methods = _core.handle_from_id(bytes.fromhex(actor_id))._methods
    except Exception:
        return None
    return next((name for name, info in methods.items() if info[0] == int(number)), None)


def _stored_error(ref_id: bytes) -> BaseException | None:
    """The error of the actor's creation task, if its object is still there."""
    from whipray import _core
    from whipray.exceptions import RayError

    try:
        _core.get(_core.ObjectRef(ref_id), timeout=0)
    except RayError as error:
        from whipray.exceptions import ActorDiedError

        return error if isinstance(error, ActorDiedError) else None
    return None


def _hex(value: Any) -> str | None:
    return value.hex() if isinstance(value, bytes) else value
