"""`ray.cloudpickle`."""

from __future__ import annotations

from typing import Any

from whipray import cloudpickle as _ours
from whipray.compat.facade import show

show(__name__, "whipray.cloudpickle")


def dumps_debug(obj: Any, *args: Any, **kwargs: Any) -> bytes:
    """dumps; the TypeError of what can not be pickled says which part of it is to blame."""
    try:
        return _ours.dumps(obj, *args, **kwargs)
    except (TypeError, ValueError) as error:
        from whipray._private.serialize_check import explain

        raise TypeError(explain(obj, None, error)) from error
