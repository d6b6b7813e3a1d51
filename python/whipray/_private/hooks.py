"""What the C extension asks of Python on its rare paths; it finds these functions by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from whipray import _core


def auto_init() -> None:
    """Start a session for a program that uses the API without having called init."""
    from whipray._private import worker

    worker.ensure_attached()


def end_of_session() -> None:
    """A call has no session, or none any more: an error, unless the thread ends here."""
    from whipray._private import worker

    worker.end_daemon_thread()


def out_of_band(ref: Any) -> None:
    """A reference is pickled where nobody counts it: refuse if the program does not want that."""
    allowed = os.environ.get("RAY_allow_out_of_band_object_ref_serialization", "1")
    if allowed.lower() in ("0", "false"):
        from whipray.exceptions import OufOfBandObjectRefSerializationException

        raise OufOfBandObjectRefSerializationException(
            f"It is not allowed to serialize ray.ObjectRef {ref.hex()} by the program itself: its "
            "value could not be freed before the session ends. To allow it, set "
            "`RAY_allow_out_of_band_object_ref_serialization=1`."
        )


def lost_ref(ref: Any, is_actor: bool, from_other_session: bool) -> NoReturn:
    """Raise for a reference that names nothing in the open session, or when there is none.

    `from_other_session`: it was good in an earlier session of this process.
    """
    from whipray._private import worker
    from whipray.exceptions import ActorHandleNotFoundError, UnknownObjectError

    worker.refuse_forked()
    worker.end_daemon_thread()
    over = (
        "It belongs to a session that has ended in this process; references and actor handles "
        "are of no use after shutdown()."
    )
    if is_actor:
        raise ActorHandleNotFoundError(f"The actor of this handle is not here. {over}")
    error = UnknownObjectError(ref.hex())
    if from_other_session:
        error.reason = over
    raise error


def lost_value(object_id: bytes) -> NoReturn:
    """Raise for an object whose value was spilled to disk and is not there any more."""
    from whipray.exceptions import ObjectLostError

    error = ObjectLostError(object_id.hex())
    error.reason = (
        "The file to which it had been spilled is damaged or gone, or it was released by everybody "
        "before, and no task can compute it again."
    )
    raise error


def unreadable(error: Exception) -> Exception:
    """What is raised for a value whose unpickling raised `error`: that error is its cause."""
    import traceback

    from whipray.exceptions import DependencyFailed, RayError, RaySystemError

    if isinstance(error, RayError | DependencyFailed):
        return error
    wrapped = RaySystemError(error, "".join(traceback.format_exception(error)))
    wrapped.__cause__ = error
    return wrapped


def get_slow(refs: Any, timeout: Any) -> Any:
    """`get` of anything but one reference or a plain list of references."""
    auto_init()
    check_timeout(timeout)
    if isinstance(refs, _core.ObjectRef):
        return _core.get(refs, timeout=timeout)
    if isinstance(refs, _core.Stream):
        return refs
    compiled = sys.modules.get("whipray.dag.compiled_dag_node")
    if compiled is not None and compiled.is_result(refs):
        return compiled.get(refs, timeout)
    if not isinstance(refs, list):
        raise _noted(
            ValueError(
                f"Invalid type of object refs, {type(refs)}, is given. 'object_refs' must either "
                "be an ObjectRef or a list of ObjectRefs."
            ),
            refs,
        )
    for ref in refs:
        if not isinstance(ref, _core.ObjectRef):
            raise _noted(
                TypeError(
                    f"Attempting to call `get` on the value {ref!r}, which is not an ray.ObjectRef."
                ),
                ref,
            )
    return _core.get(list(refs), timeout=timeout)


def _noted(error: Exception, given: Any) -> Exception:
    """The error, whose text is Ray's, with a note of what to do instead."""
    if found := _instead(given):
        error.add_note(found)
    return error


def _instead(given: Any) -> str:
    """What whoever asked for this value may have had in mind."""
    from whipray.actor import ActorClass
    from whipray.remote_function import ConfiguredFunction, RemoteFunction

    if isinstance(given, RemoteFunction | ConfiguredFunction | _core.ActorMethod):
        return f"{given!r} has not been called: `.remote(...)` gives an ObjectRef."
    if isinstance(given, _core.TaskSubmitter) or (
        isinstance(getattr(given, "__self__", None), _core.ActorMethod)
    ):
        return "`.remote` has not been called: `.remote(...)` gives an ObjectRef."
    if isinstance(given, ActorClass):
        return (
            f"{given!r} is a class: `.remote(...)` makes an actor, whose methods give ObjectRefs."
        )
    if isinstance(given, _core.ActorHandle):
        return "This is an actor: call a method of it with `.remote(...)`, and get what that gives."
    if isinstance(given, list):
        return "Lists in lists are not looked into: get each of the inner lists."
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, list) for x in given):
        return "wait() gives two lists: ready, rest = wait(...), and then get(ready)."
    if isinstance(given, dict):
        return "To get the values of a dict, give their list: get(list(...values()))."
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return "Only a list will do: make a list of it: get(list(...))."
    return ""


def sleeps_in_actor() -> None:
    """Warn of `get` and `wait` on the event loop of an async actor: all its calls sleep along."""
    from asyncio import _get_running_loop

    from whipray._private import hints

    if _get_running_loop() is not None:
        hints.warn(
            "get() and wait() block the event loop of an async actor: none of its other calls goes "
            "on meanwhile. Use `await ref`, or asyncio.gather() for several.",
            RuntimeWarning,
        )


def check_timeout(timeout: Any) -> None:
    """None or a number of seconds >= 0."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout!r}")


def put_refused(value: Any) -> None:
    """`put` of a reference."""
    raise TypeError(
        "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, you can "
        "wrap the ray.ObjectRef in a list and call 'put' on it."
    )


def put_option_refused(name: str) -> None:
    """An option of Ray's `put` that would change something."""
    if name == "_owner":
        raise ValueError(
            "The experimental `_owner` argument to `ray.put` has been removed in Ray 2.56."
        )
    raise NotImplementedError(f"put(): {name} is not supported: values go through the object store")


def describe(meta: bytes) -> tuple[dict[str, _core.MethodInfo], dict[str, Any]]:
    """Methods and facts of an actor class from its public description."""
    from whipray._private.actor_table import unpack_description

    return unpack_description(meta)
