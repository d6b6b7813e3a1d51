"""What can still be told of a stored error that can not be unpickled in this process.

The class of an exception may come from a module that only the workers can import, or may not be
rebuilt from what it gave to pickle.  The text of the error is in the pickle all the same: that is
read once more, and what is not found becomes a `_Nothing`.  Where that does not do either,
everything but the errors of this package does.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from whipray._private import task_error

_OURS = ("whipray.exceptions", "ray.exceptions", "whipray._private.ids", task_error.__name__)
"""Modules whose names mean what they say: those of the errors, and of what they hold."""


def salvage(data: Any, buffers: list[Any], failure: Exception) -> BaseException:
    """The error in the pickle `data`; an UnserializableException stands for what it lacks.

    Raises:
        TypeError: it is not one of this package's.
        Exception: it can not be read that way either.
    """
    try:
        found = _Unpickler(data, buffers, failure).load()
    except Exception:
        found = _OurUnpickler(data, buffers, failure).load()
    if not isinstance(found, BaseException):
        raise TypeError("not an error of a task or actor")
    return found


class _Anything(type):
    """Whatever is done to one of these classes by a pickle gives the class."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls

    def _ignore(cls, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class _Nothing(metaclass=_Anything):
    """Stands for functions, classes and instances that are not looked for."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return cls


class _Unpickler(pickle.Unpickler):
    """Leaves out what can not be found."""

    def __init__(self, data: Any, buffers: Iterable[Any], failure: Exception) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._why = task_error.not_rebuilt("It", failure)

    def find_class(self, module: str, name: str) -> Any:
        if module == task_error.__name__ and name == task_error._rebuild.__name__:
            return self._rebuild
        try:
            return super().find_class(module, name)
        except Exception:
            return _Nothing

    def _rebuild(self, arguments: tuple[Any, ...], chain: Iterable[Any]) -> BaseException:
        if not _is_whole(arguments[2]):
            return task_error.without_cause(arguments, self._why)
        known = takewhile(lambda link: _is_whole(link[1]), chain)
        rebuilt: BaseException = task_error._rebuild(arguments, list(known))
        return rebuilt


class _OurUnpickler(_Unpickler):
    """Leaves out everything but the errors of this package."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if module in _OURS else _Nothing


def _is_whole(error: Any) -> bool:
    """An exception, with all that it shows."""
    if not isinstance(error, BaseException):
        return False
    return all(part is not _Nothing for part in (*error.args, *vars(error).values()))
