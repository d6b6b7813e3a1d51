"""Exported functions and classes, back to life in a worker."""

from __future__ import annotations

import os
from typing import Any

from whipray import _core
from whipray._private import exporting, timeline, worker


class Aliased:
    """A function under the facts of an alias: name, retry_exceptions, max_calls."""

    def __init__(self, function: Any, full_name: str, extras: dict[str, Any]) -> None:
        self.function = function
        self.full_name = full_name
        self.extras = extras
        self._calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        limit = self.extras.get("max_calls")
        if limit:
            self._calls += 1
            if self._calls >= limit:
                _core.quit_soon()
        if "captures" not in self.extras:
            return self._run(args, kwargs)
        with placed(self.extras["captures"]):
            return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "GPU" not in self.extras.get("resources", ()):
            return self._run_with_threads(args, kwargs)
        from whipray._private import gpus

        before = gpus.show()
        try:
            return self._run_with_threads(args, kwargs)
        finally:
            gpus.restore(before)

    def _run_with_threads(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        threads = worker.thread_count(self.extras.get("resources", {}))
        if threads is None or threads == os.environ.get(worker.THREADS):
            return self.function(*args, **kwargs)
        before = os.environ.get(worker.THREADS, "1")
        os.environ[worker.THREADS] = threads
        try:
            return self.function(*args, **kwargs)
        finally:
            os.environ[worker.THREADS] = before


class placed:
    """While a task runs in a placement group: which one, and whether its children go there."""

    def __init__(self, captures: bool) -> None:
        self._captures = captures

    def __enter__(self) -> None:
        job = _core.current_job()
        worker.state.group = (None if job is None else job.group, self._captures)
        _core.set_context(self._captures)

    def __exit__(self, *exc: object) -> None:
        worker.state.group = (None, False)
        _core.set_context(False)


_functions: dict[bytes, tuple[Any, str]] = {}
"""Functions that aliases refer to, by the id of their export."""
full_names: dict[int, str] = {}
"""module.name by id() of the loaded function; loaded functions live as long as the process."""
missing = ""
"""Display name of the last function or class that could not be loaded, as far as it is known."""


def load(payload: bytes, kind: int) -> tuple[Any, str]:
    """(what to call, display name) of an export of kind FUNCTION or CLASS."""
    value = _revive(payload)
    if kind == exporting.CLASS:
        return value, value[0].__name__
    alias = value if isinstance(value, exporting.Alias) else None
    given = "" if alias is None else alias.extras.get("name", "")
    function, name = value if alias is None else _function(alias.base, given)
    shown = given or name.rpartition(".")[2]
    if timeline.enabled():
        function = timeline.timed(function, shown)
    if alias is not None and alias.extras.get("per_yield"):
        from whipray._private.ungroup import ungrouped

        function = ungrouped(function, alias.extras["per_yield"])
    if alias is not None:
        return Aliased(function, name, alias.extras), shown
    full_names[id(function)] = name
    return function, shown


def _function(export: bytes, shown: str) -> tuple[Any, str]:
    """What an alias refers to, which may show another name: the function and its full name."""
    found = _functions.get(export)
    if found is None:
        ref: _core.ObjectRef[Any] = _core.ObjectRef(export)
        found = _functions[export] = _revive(_core.export_bytes(ref), shown)
    return found


def _revive(payload: bytes, shown: str = "") -> Any:
    """The unpickled export; RuntimeError says what was missing here."""
    global missing
    import sys
    import traceback

    from whipray import cloudpickle

    try:
        found = cloudpickle.loads(payload)
        return found.revive() if isinstance(found, exporting.FromCells) else found
    except Exception:
        from whipray._private import pickled_names

        name = pickled_names.full(payload)
        missing = shown or name.rpartition(".")[2]
        kind = "actor class" if pickled_names.is_class(payload) else "remote function"
        raise RuntimeError(
            f"The {kind} {name} failed to import on the worker. Is a library that it needs not "
            f"installed there, or not found from sys.path {sys.path}?\n\n{traceback.format_exc()}"
        ) from None


def full_name(fn: Any) -> str:
    """module.name of a loaded function."""
    return fn.full_name if isinstance(fn, Aliased) else full_names.get(id(fn), "")


def extras(fn: Any) -> dict[str, Any]:
    """The facts of an alias; {} for plain functions."""
    return fn.extras if isinstance(fn, Aliased) else {}
