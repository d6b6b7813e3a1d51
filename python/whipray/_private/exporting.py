"""Functions and classes on their way to the workers.

A definition is pickled once per session and stored in it; tasks name it by its reference.  A
function with other exceptions to retry, say, is a small alias of the first; so is one under a name
that the records of tasks have no room for.  The payloads are read by `whipray._private.loading`.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

from whipray import _core
from whipray._private import hints
from whipray._private.options import wanted

FUNCTION, CLASS, DESCRIPTION = 0, 1, 2
"""Kinds of exports."""
DEFAULT_CLAIM = {"CPU": 1.0}
"""Resources of a task that asks for nothing."""
WARN_BYTES = 10 << 20
REFUSE_BYTES = 95 << 20


class FunctionExports:
    """The exports of one function, by display name and by exceptions to retry."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self._epoch = 0
        self._refs: dict[Any, _core.ObjectRef[Any]] = {}
        self._lock = threading.Lock()

    def ref(self, options: dict[str, Any], captures: bool | None = None) -> _core.ObjectRef[Any]:
        """Reference of the export for these options, made if need be; `captures`: it runs in a
        placement group, and whether its children do."""
        extras = task_extras(options)
        if captures is not None:
            extras["captures"] = captures
        key = repr(extras), tuple(extras.get("retry_exceptions") or ())
        with self._lock:
            if self._epoch != _core.epoch():
                self._refs.clear()
                self._epoch = _core.epoch()
            found = self._refs.get(key)
            if found is None:
                found = self._refs[key] = self._export(extras)
            return found

    def _export(self, extras: dict[str, Any]) -> _core.ObjectRef[Any]:
        plain = ("", ())
        base = self._refs.get(plain)
        if base is None:
            name = f"{module_of(self.function)}.{short_name(self.function)}"
            payload = dumps_definition((self.function, name), self.function)
            base = self._refs[plain] = export(payload, FUNCTION)
        if not extras:
            return base
        from whipray import cloudpickle

        return export(cloudpickle.dumps(Alias(base.binary(), extras)), FUNCTION)


_kept: list[_core.ObjectRef[Any]] = []
_kept_epoch = 0


def export(payload: bytes, kind: int) -> _core.ObjectRef[Any]:
    """Store a definition for as long as this process is in the session: tasks do not hold it."""
    global _kept_epoch
    if _kept_epoch != _core.epoch():
        _kept.clear()
        _kept_epoch = _core.epoch()
    ref = _core.export(payload, kind)
    _kept.append(ref)
    return ref


class Alias:
    """An exported function with further facts: name, retry_exceptions, max_calls."""

    def __init__(self, base: bytes, extras: dict[str, Any]) -> None:
        self.base = base
        self.extras = extras


class FromCells:
    """A definition with the text it was written in when no file has it: cells of a notebook."""

    def __init__(self, definition: Any, cells: dict[str, Any]) -> None:
        self.definition = definition
        self.cells = cells

    def revive(self) -> Any:
        """The definition; tracebacks and debuggers of this process find its lines."""
        import linecache

        linecache.cache.update(self.cells)
        return self.definition


def _cells_of(named: Any) -> dict[str, Any]:
    """Entries of linecache that only this process has, for the code of a function or class."""
    cache = getattr(sys.modules.get("linecache"), "cache", {})
    parts = vars(named).values() if isinstance(named, type) else (named,)
    codes = (getattr(part, "__code__", None) for part in parts)
    names = {code.co_filename for code in codes if code is not None}
    found = {name: cache[name] for name in names if name in cache}
    return {name: entry for name, entry in found.items() if len(entry) == 4 and entry[1] is None}


def task_extras(options: dict[str, Any]) -> dict[str, Any]:
    """Options that only the worker needs."""
    extras: dict[str, Any] = {}
    if options.get("name") and own_name(options) is None:
        extras["name"] = options["name"]
    retry = options.get("retry_exceptions")
    if isinstance(retry, list | tuple):
        extras["retry_exceptions"] = tuple(retry)
    if options.get("max_calls"):
        extras["max_calls"] = options["max_calls"]
    if (options.get("_num_objects_per_yield") or 1) > 1:
        extras["per_yield"] = options["_num_objects_per_yield"]
    claimed = wanted(options, 1)
    if claimed != DEFAULT_CLAIM:
        extras["resources"] = claimed
    return {**extras, **labels_asked(options)}


def own_name(options: dict[str, Any]) -> str | None:
    """The name that tasks carry themselves; None: they have none, or an alias has to say it."""
    name = options.get("name")
    return name if name and _core.task_name_fits(name) else None


def labels_asked(options: dict[str, Any]) -> dict[str, Any]:
    """What options ask of the node's labels, for listings alone."""
    names = ("label_selector", "fallback_strategy")
    return {name: options[name] for name in names if options.get(name)}


def full_name(definition: Any) -> str:
    """`module.name` of a function or class, without the places it is nested in."""
    module = getattr(definition, "__module__", None) or "__main__"
    return f"{module}.{short_name(definition)}"


def module_of(definition: Any) -> str:
    """Name of its module for workers, who have another main module: that of the file instead."""
    module = getattr(definition, "__module__", None) or "__main__"
    if module not in ("__main__", "__mp_main__"):
        return str(module)
    members = vars(definition).values() if isinstance(definition, type) else [definition]
    codes = [code for member in members if (code := getattr(member, "__code__", None))]
    file = codes[0].co_filename if codes else ""
    stem, ending = os.path.splitext(os.path.basename(file))
    return stem if ending == ".py" and os.path.isfile(file) else module


def short_name(definition: Any) -> str:
    """The last part of the name; for objects that have none, that of their class."""
    name = getattr(definition, "__qualname__", None) or getattr(definition, "__name__", None)
    if name is None:
        inner = getattr(definition, "func", None)
        name = short_name(inner) if inner is not None else type(definition).__name__
    return str(name).rpartition(".")[2]


def dumps_definition(value: Any, named: Any) -> bytes:
    """Pickle a definition; TypeError that names the culprit when it can not be done."""
    from whipray import cloudpickle

    cells = _cells_of(named)
    try:
        payload: bytes = cloudpickle.dumps(FromCells(value, cells) if cells else value)
    except Exception as error:
        raise TypeError(_why(named, error)) from error
    if len(payload) > REFUSE_BYTES:
        raise ValueError(_size(named, len(payload), f"too large: {REFUSE_BYTES >> 20} at most"))
    if len(payload) > WARN_BYTES:
        hints.warn(_size(named, len(payload), "rather large"))
    return payload


def _why(named: Any, error: Exception) -> str:
    text = f"Could not serialize {kind_of(named)} {full_name(named)}: {error}"
    try:
        from whipray._private import serialize_check

        _, culprits = serialize_check.inspect_serializability(
            named, name=short_name(named), print_file=io.StringIO()
        )
        found = "; ".join(sorted(culprit.told() for culprit in culprits))
    except Exception:
        return text
    return f"{text}\nWhat stands in the way: {found}" if found else text


def _size(named: Any, size: int, complaint: str) -> str:
    return (
        f"The {kind_of(named)} {full_name(named)} takes {size / (1 << 20):.1f} MiB when pickled, "
        f"{complaint}. Does it refer to a large object? Use put() for that and pass the reference."
    )


def kind_of(definition: Any) -> str:
    """How messages call it."""
    return "actor class" if isinstance(definition, type) else "function"
