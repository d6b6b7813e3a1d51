"""Finding the nodes in the arguments of a node, and putting values in their places.

Lists, tuples and dicts are walked; any other object that could hold a node is pickled in memory,
and copied by unpickling only if there is a node in it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from whipray import _core

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range, type})
LEAVES = (_core.ObjectRef, _core.ActorHandle)


def find(value: Any, kind: type) -> list[Any]:
    """The instances of `kind` in `value`, in order; each once."""
    found: dict[int, Any] = {}
    _collect(value, kind, found, set())
    return list(found.values())


def _collect(value: Any, kind: type, found: dict[int, Any], seen: set[int]) -> None:
    if isinstance(value, kind):
        found.setdefault(id(value), value)
    elif type(value) in PLAIN or isinstance(value, LEAVES) or id(value) in seen:
        return
    elif type(value) in (list, tuple, dict):
        seen.add(id(value))
        for item in [*value, *value.values()] if type(value) is dict else value:
            _collect(item, kind, found, seen)
    elif _may_hold(value):
        for node in _pickled(value, kind)[1]:
            found.setdefault(id(node), node)


def replace(value: Any, kind: type, new: Callable[[Any], Any]) -> Any:
    """`value` with new(node) for each node in it; itself, not a copy, if there is none."""
    if isinstance(value, kind):
        return new(value)
    if type(value) in (list, tuple):
        items = [replace(item, kind, new) for item in value]
        changed = any(a is not b for a, b in zip(items, value, strict=True))
        return type(value)(items) if changed else value
    if type(value) is dict:
        pairs = [(replace(k, kind, new), replace(v, kind, new)) for k, v in value.items()]
        old = value.items()
        changed = any(a is not c or b is not d for (a, b), (c, d) in zip(pairs, old, strict=True))
        return dict(pairs) if changed else value
    if type(value) in PLAIN or isinstance(value, LEAVES) or not _may_hold(value):
        return value
    data, nodes = _pickled(value, kind)
    return _Unpickler(io.BytesIO(data), [new(node) for node in nodes]).load() if nodes else value


def _may_hold(value: Any) -> bool:
    """Buffers of numbers hold nothing, and are too large to pickle for a look."""
    dtype = getattr(value, "dtype", None)
    return getattr(dtype, "hasobject", dtype is None) is not False


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, kind: type) -> None:
        super().__init__(file)
        self.kind = kind
        self.nodes: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, self.kind):
            return None
        self.nodes.append(value)
        return len(self.nodes) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, values: list[Any]) -> None:
        super().__init__(file)
        self._values = values

    def persistent_load(self, index: int) -> Any:
        return self._values[index]


def _pickled(value: Any, kind: type) -> tuple[bytes, list[Any]]:
    file = io.BytesIO()
    pickler = _Pickler(file, kind)
    pickler.dump(value)
    return file.getvalue(), pickler.nodes
