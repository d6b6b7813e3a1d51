"""What can still be told of a stored error that can not be unpickled in this process.

The class of an exception may come from a module that only the workers can import, or may not be
rebuilt from what it gave to pickle.  The text of the error is in the pickle all the same: that is
read once more, and everything but the errors of this package becomes a `_Nothing`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from typing import Any

from whipray._private import task_error

_OURS = ("whipray.exceptions", "ray.exceptions", "whipray._private.ids", task_error.__name__)
"""Modules whose names mean what they say: those of the errors, and of what they hold."""


def salvage(data: Any, buffers: Iterable[Any], failure: Exception) -> BaseException:
    """The error in the pickle `data`, whose causes are UnserializableException.

    Raises:
        TypeError: it is not one of this package's.
        Exception: it can not be read that way either.
    """
    found = _Unpickler(io.BytesIO(data), failure, buffers).load()
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
    def __init__(self, file: io.BytesIO, failure: Exception, buffers: Iterable[Any]) -> None:
        super().__init__(file, buffers=buffers)
        self._why = task_error.not_rebuilt("It", failure)

    def find_class(self, module: str, name: str) -> Any:
        if module not in _OURS:
            return _Nothing
        if name == task_error._rebuild.__name__:
            return self._rebuild
        return super().find_class(module, name)

    def _rebuild(self, arguments: tuple[Any, ...], _: Any) -> BaseException:
        return task_error.without_cause(arguments, self._why)
