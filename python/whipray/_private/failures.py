"""From an exception in a worker to the error value that its callers will get."""

from __future__ import annotations

import os
import traceback
from typing import Any

from whipray._private import machine, task_error

_INTERNAL = os.path.dirname(os.path.abspath(__file__)) + os.sep


_READ_ONLY = ("assignment destination is read-only", "output array is read-only")
_COPY = (
    "Large arrays that a task is given lie in the object store, for all to read: change a copy of "
    "one, array.copy()."
)
"""What NumPy says, and what newcomers have to know."""


class Where:
    """Who failed: what the error's text shows."""

    def __init__(
        self, name: str, actor_repr: str | None = None, actor_id: str | None = None
    ) -> None:
        self.name = name
        self.actor_repr = actor_repr
        self.actor_id = actor_id


def remote_traceback(error: BaseException) -> str:
    """The traceback with this package's own frames left out."""
    found = traceback.TracebackException.from_exception(error, compact=True)
    _cut(found, set())
    return "".join(found.format())


def _cut(found: traceback.TracebackException | None, seen: set[int]) -> None:
    if found is None or id(found) in seen:
        return
    seen.add(id(found))
    kept = [frame for frame in found.stack if not frame.filename.startswith(_INTERNAL)]
    found.stack = traceback.StackSummary.from_list(kept)
    _cut(found.__cause__, seen)
    _cut(found.__context__, seen)
    for inner in getattr(found, "exceptions", None) or ():
        _cut(inner, seen)


def task_failed(where: Where, error: BaseException) -> BaseException:
    """The RayTaskError for an exception raised by a task or method."""
    from whipray.exceptions import RayTaskError

    if isinstance(error, ValueError) and str(error) in _READ_ONLY:
        error.add_note(_COPY)
    text = remote_traceback(error)
    cause = error.cause if isinstance(error, RayTaskError) else error
    return _error(where, text, cause)


def dependency_failed(where: Where, upstream: BaseException) -> BaseException:
    """The error of a task whose argument is the stored error `upstream`; it did not run."""
    from whipray.exceptions import RayTaskError

    kind = type(upstream)
    shown = f"{kind.__module__}.{kind.__qualname__}: {task_error.without_middle(str(upstream))}"
    text = f"Traceback (most recent call last):\n{task_error.DEPENDENCY_NOTE}\n{shown}"
    cause = upstream.cause if isinstance(upstream, RayTaskError) else upstream
    return _error(where, text, cause)


def _error(where: Where, text: str, cause: BaseException) -> BaseException:
    from whipray.exceptions import RayTaskError

    if not text.startswith("Traceback (most") and "\nTraceback (most" not in text:
        text = f"Traceback (most recent call last):\n{text}"
    portable, why = task_error.portable_cause(cause, text)
    return RayTaskError(
        where.name.rpartition(".")[2],
        text + why,
        portable,
        f"ray::{where.name}",
        os.getpid(),
        machine.NODE_IP,
        where.actor_repr,
        where.actor_id,
    )


def retried(error: BaseException, wanted: Any) -> bool:
    """True if `error` is one of the exceptions that a task's retry_exceptions names."""
    if not wanted:
        return isinstance(error, Exception)
    cause = getattr(error, "cause", None)
    kinds = tuple(wanted)
    return isinstance(error, kinds) or isinstance(cause, kinds)
