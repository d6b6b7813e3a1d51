"""What can be seen of a program, as plain JSON: equal on two engines where they behave alike.

Workers import this module by reference, so it depends on the standard library only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

Plain = Any
"""What json.dumps takes."""

# What differs from run to run: ids, addresses, process numbers, folders, times.
VARIABLE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<address>"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "<id>"),
    (re.compile(r"\bpid[=: ]+\d+"), "pid=<n>"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+(:\d+)?"), "<ip>"),
    (re.compile(r"(/[\w.\-]+){2,}"), "<path>"),
    (re.compile(r"\bwhipray\b"), "ray"),
)


class Outcome:
    """How a call ended: with a value, or with an exception."""

    def __init__(self, value: Any = None, error: BaseException | None = None, text: bool = True):
        self.value = value
        self.error = error
        self.text = text


def attempt(call: Callable[[], Any], text: bool = True) -> Outcome:
    """Call and tell how it ended; without `text` only the exception's classes count."""
    try:
        return Outcome(call())
    except Exception as error:
        return Outcome(error=error, text=text)


def describe(value: Any) -> Plain:
    """Type and content of a value, so that 1, True and 1.0 are three."""
    if value is None or (isinstance(value, bool | str) and type(value) in (bool, str)):
        return _steady(value) if isinstance(value, str) else value
    if type(value) is int:
        return value if abs(value) < 2**53 else {"int": str(value)}
    if type(value) in (float, complex, bytes, bytearray, range, type(Ellipsis)):
        return {type(value).__name__: repr(value)}
    if isinstance(value, Outcome):
        return describe_outcome(value)
    if isinstance(value, BaseException):
        return describe_error(value)
    return _describe_container(value)


def _describe_container(value: Any) -> Plain:
    name = type(value).__name__
    if isinstance(value, list | tuple):
        parts = [describe(item) for item in value]
        return parts if type(value) is list else {name: parts}
    if isinstance(value, dict):
        return {name: [[describe(key), describe(item)] for key, item in value.items()]}
    if isinstance(value, set | frozenset):
        return {name: sorted((describe(item) for item in value), key=repr)}
    if hasattr(value, "__array_interface__"):
        return _describe_array(value)
    if isinstance(value, type):
        return {"class": value.__name__}
    return {name: _steady(repr(value))}


def _describe_array(value: Any) -> Plain:
    if getattr(value, "dtype", None) is not None and value.dtype.hasobject:
        content = repr(value.tolist())
    else:
        content = hashlib.sha256(value.tobytes()).hexdigest()[:16]
    return {
        type(value).__name__: [str(value.dtype), list(value.shape), content],
        "writeable": bool(value.flags.writeable),
        "fortran": bool(value.flags.fnc),
    }


def describe_outcome(outcome: Outcome) -> Plain:
    if outcome.error is None:
        return {"gives": describe(outcome.value)}
    return {"raises": describe_error(outcome.error, outcome.text)}


def describe_error(error: BaseException, text: bool = True) -> Plain:
    """Classes from the most special one on, and the last line of the text."""
    classes = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, BaseException)]
    told: dict[str, Plain] = {"classes": classes}
    lines = [line for line in str(error).splitlines() if line.strip()]
    if text and lines:
        told["says"] = _steady(lines[-1].strip())
    return told


def _steady(text: str) -> str:
    for pattern, instead in VARIABLE:
        text = pattern.sub(instead, text)
    return text
