"""What calls a function accepts, found out quickly for the usual case and exactly when needed."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature

VARARGS, VARKEYWORDS, GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200
NEVER = (1, 0)
"""Bounds that no count satisfies: every call is checked against the signature."""


def bounds(function: Any, skip: int = 0) -> tuple[int, int]:
    """(least, most) positional arguments of a call without keywords; most -1: no bound.

    `skip` leading parameters (self) are filled in by somebody else.
    """
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return NEVER
    code = function.__code__
    required_keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    if required_keywords > 0 or "__signature__" in function.__dict__:
        return NEVER
    most = code.co_argcount - skip
    least = max(0, most - len(function.__defaults__ or ()))
    if most < 0:  # self comes in through *args
        most = least = 0
    return least, -1 if code.co_flags & VARARGS else most


def flags(function: Any) -> int:
    """Flags of the code object behind `function`, 0 where there is none."""
    inner = getattr(function, "__func__", function)
    inner = getattr(inner, "func", inner)  # functools.partial
    code = getattr(inner, "__code__", None)
    return 0 if code is None else int(code.co_flags)


def is_generator(function: Any) -> bool:
    """A function that yields."""
    return bool(flags(function) & (GENERATOR | ASYNC_GENERATOR))


def is_coroutine(function: Any) -> bool:
    """A function declared with `async def`, or marked as if it were."""
    return bool(flags(function) & (COROUTINE | ASYNC_GENERATOR))


def check(
    function: Any, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], skip: int = 0
) -> None:
    """TypeError unless function(*args, **kwargs) is a valid call; `called`: what messages say."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # some built-ins have none: the call itself will tell
    bind(signature, called, (*(None,) * skip, *args), kwargs, skip)


def bind(
    signature: Signature, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], skip: int = 0
) -> None:
    """TypeError unless the arguments fit; a note tells the signature but for `skip` parameters."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        shown = signature.replace(parameters=[*signature.parameters.values()][skip:])
        error.add_note(f"The signature is {called}{shown}")
        raise error.with_traceback(None) from None
