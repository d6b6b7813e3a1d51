"""Pickling of values that have no short form of their own.

The codec in C calls `dump` for such values; it writes None, numbers, text, bytes, lists, tuples,
dicts, arrays and ObjectRefs without coming here, and plain combinations of the standard library's
types with pickle alone.  cloudpickle is imported with the first value that needs it.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

PROTOCOL = 5
REFUSAL = "cannot pickle "
"""How pickle begins, and what the standard library writes in Python as well, such as sockets."""

TOO_DEEP = "Could not pickle object as excessively deep recursion required."
"""cloudpickle's words for it."""

Reducer = Callable[[Any], tuple[Any, ...]]

_reducers: dict[type, Reducer] = {}

# An exception raised below one of these modules was raised by the pickler, not by a user's class.
_PICKLERS = (
    "pickle",
    "copyreg",
    "cloudpickle",
    "cloudpickle.cloudpickle",
    "whipray.cloudpickle",
    __name__,
)


def register_serializer(
    cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """Makes values of exactly this class travel as `serializer(value)`.

    Args:
        cls: the class; its subclasses are not affected.
        serializer: gives something that can be pickled.
        deserializer: gives the value back from it, in another process.

    Raises:
        TypeError: cls is no class, or one of the other two cannot be called.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer needs a class, not {cls!r}")
    if not callable(serializer) or not callable(deserializer):
        raise TypeError("serializer and deserializer must be callable")

    def reduce(value: Any) -> tuple[Any, ...]:
        return deserializer, (serializer(value),)

    register_reducer(cls, reduce)


def register_reducer(cls: type, reducer: Reducer) -> None:
    """Makes values of exactly this class travel as what `reducer` gives for `__reduce__`."""
    _reducers[cls] = reducer
    _tell_codec()


def deregister_serializer(cls: type) -> None:
    """Undoes `register_serializer`; a class that is not registered is left alone."""
    _reducers.pop(cls, None)
    _tell_codec()


def _tell_codec() -> None:
    from whipray import _core

    _core._set_custom(bool(_reducers))


@functools.cache
def _pickler_class() -> type[pickle.Pickler]:
    from whipray import cloudpickle
    from whipray._private import by_value

    base: type[Any] = cloudpickle.Pickler

    class Pickler(base):  # type: ignore[misc]
        """cloudpickle's, with the registered classes in front.

        `dump` is the one of pickle: cloudpickle's turns a RecursionError into another error.
        """

        dispatch_table: ClassVar[Any] = ChainMap(_reducers, base.dispatch_table)
        dump = pickle.Pickler.dump

        def reducer_override(self, obj: Any) -> Any:
            if obj is by_value.revived:
                return NotImplemented
            made = by_value.reduced(obj) if type(obj) in by_value.KINDS else None
            return super().reducer_override(obj) if made is None else made

    return Pickler


def dumps(value: object, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """The pickle of `value`; with `buffers`, large buffers are appended there instead."""
    file = io.BytesIO()
    callback = None if buffers is None else buffers.append
    _pickler_class()(file, protocol=PROTOCOL, buffer_callback=callback).dump(value)
    return file.getvalue()


def dump(value: object, buffers: list[pickle.PickleBuffer], about: int | str | None) -> bytes:
    """As `dumps`, for the codec.

    Args:
        about: position or name of the argument that value is; -2: it is put; None: neither.

    Raises:
        TypeError: something in value cannot be pickled; the text names it and where it is.
        PicklingError: value is nested too deep.
        Exception: what a `__reduce__` or `__getstate__` of the user's raised, unchanged.
    """
    try:
        return dumps(value, buffers)
    except (TypeError, ValueError, AttributeError, pickle.PicklingError) as error:
        if not _raised_by_pickler(error.__traceback__) and not str(error).startswith(REFUSAL):
            raise
        from whipray._private.serialize_check import explain

        raise TypeError(explain(value, about, error)) from error
    except RecursionError as error:
        raise pickle.PicklingError(TOO_DEEP) from error


def _raised_by_pickler(traceback: TracebackType | None) -> bool:
    module = __name__
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return module in _PICKLERS
