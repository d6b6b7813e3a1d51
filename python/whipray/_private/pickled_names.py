"""Names of exported functions, read out of their pickles without bringing anything to life."""

from __future__ import annotations

import io
import pickle
from typing import Any

from whipray import _core
from whipray._private import exporting


def shown(export: bytes) -> str:
    """What listings show for the id of an export: the name of an alias, else the function's last
    part; "" if it is not known."""
    return told(export)[0]


def told(export: bytes) -> tuple[str, str, dict[str, Any]]:
    """(name in listings, the function's own, what an alias adds) of the id of an export."""
    try:
        value = _read(_core.export_bytes(_core.ObjectRef(export)))
        if not isinstance(value, exporting.Alias):
            own = _full(value).rpartition(".")[2]
            return own, own, {}
        own = told(value.base)[1]
        return str(value.extras.get("name") or own), own, value.extras
    except Exception:
        return "", "", {}  # it has gone, or its pickle does not come apart without its classes


def full(payload: bytes) -> str:
    """`module.name` of a function that has no alias; "" if it is not known."""
    try:
        return _full(_read(payload))
    except Exception:
        return ""


def is_class(payload: bytes) -> bool:
    """Whether it is a class that actors are made of."""
    try:
        value = _read(payload)
        return isinstance(value, tuple) and isinstance(value[1], list)
    except Exception:
        return False


def _read(payload: bytes) -> Any:
    value = _Names(io.BytesIO(payload)).load()
    return value.definition if isinstance(value, exporting.FromCells) else value


def _full(value: Any) -> str:
    if not isinstance(value, tuple):
        return ""
    return str(next((part for part in value[1:] if isinstance(part, str)), ""))


class _Names(pickle.Unpickler):
    """Reads the name beside a pickled function, and brings nothing of the function to life."""

    def find_class(self, module: str, name: str) -> Any:
        if module != exporting.__name__:
            return _Nothing
        return {"Alias": exporting.Alias, "FromCells": exporting.FromCells}.get(name, _Nothing)

    def persistent_load(self, pid: Any) -> Any:
        return None


class _Nothing:
    """Stands for every class and function in a pickle."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __setstate__(self, values: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)
