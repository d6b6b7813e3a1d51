"""Marks of public, developers' and deprecated interfaces."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class RayDeprecationWarning(DeprecationWarning):
    """Something that will go is used."""


def _mark(kind: str, args: tuple[Any, ...], allowed: set[str], given: dict[str, Any]) -> Any:
    wrong = set(given) - allowed
    if wrong:
        raise ValueError(f"{kind} takes {sorted(allowed)}, not {sorted(wrong)}")
    if args and isinstance(args[0], str):
        args = ()  # a message, as some libraries give it
    if len(args) == 1 and not given:
        return _marked(kind, args[0])
    return lambda definition: _marked(kind, definition)


def _marked(kind: str, definition: T) -> T:
    for name, value in (("_annotated", getattr(definition, "__name__", None)), ("_kind", kind)):
        try:
            setattr(definition, name, value)
        except (AttributeError, TypeError):
            break  # of a type that takes no attributes: the mark is for documentation only
    return definition


def PublicAPI(*args: Any, **given: Any) -> Any:
    """Marks an interface for everybody."""
    return _mark("PublicAPI", args, {"stability", "api_group"}, given)


def DeveloperAPI(*args: Any, **given: Any) -> Any:
    """Marks an interface for authors of libraries."""
    return _mark("DeveloperAPI", args, {"stability", "api_group"}, given)


def Deprecated(*args: Any, **given: Any) -> Any:
    """Marks what will go; with warning=True its use warns."""
    warns = given.pop("warning", False)
    mark = _mark("Deprecated", args, {"message"}, given)
    if not warns:
        return mark
    return lambda definition: mark(_warning(definition, given.get("message")))


def _warning(definition: Any, message: str | None) -> Any:
    text = message or f"`{definition.__name__}` is deprecated."
    if inspect.isclass(definition):
        constructor: Callable[..., None] = definition.__init__

        @functools.wraps(constructor)
        def construct(self: Any, *args: Any, **kwargs: Any) -> None:
            warnings.warn(text, RayDeprecationWarning, stacklevel=2)
            constructor(self, *args, **kwargs)

        definition.__init__ = construct  # type: ignore[method-assign]
        return definition

    @functools.wraps(definition)
    def call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(text, RayDeprecationWarning, stacklevel=2)
        return definition(*args, **kwargs)

    return call
