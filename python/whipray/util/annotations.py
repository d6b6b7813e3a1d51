"""Marks of public, developers' and deprecated interfaces."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class RayDeprecationWarning(DeprecationWarning):
    """Something that will go is used."""


class AnnotationType(Enum):
    """What an interface is marked as."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


def _mark(
    kind: AnnotationType, args: tuple[Any, ...], allowed: set[str], given: dict[str, Any]
) -> Any:
    wrong = set(given) - allowed
    if wrong:
        raise ValueError(f"{kind.value} takes {sorted(allowed)}, not {sorted(wrong)}")
    if args and isinstance(args[0], str):
        args = ()  # a message, as some libraries give it
    if len(args) == 1 and not given:
        return _marked(args[0], kind)
    return lambda definition: _marked(definition, kind, given.get("api_group", "Others"))


def _marked(definition: T, kind: AnnotationType, api_group: str = "Others") -> T:
    _mark_annotated(definition, kind, api_group)
    return definition


def _mark_annotated(
    obj: Any, type: AnnotationType = AnnotationType.UNKNOWN, api_group: str = "Others"
) -> None:
    """Leave the mark on `obj`, where it has a name and takes attributes."""
    if not hasattr(obj, "__name__"):
        return
    # of a type that takes no attributes: the mark is for documentation only
    with contextlib.suppress(AttributeError, TypeError):
        obj._annotated = obj.__name__
        obj._annotated_type = type
        obj._annotated_api_group = api_group


def _is_annotated(obj: Any) -> bool:
    """True for what is marked itself, not for a subclass of it."""
    return hasattr(obj, "_annotated") and obj._annotated == obj.__name__


def _get_annotation_type(obj: Any) -> str | None:
    """What `obj` is marked as, None where it is not."""
    return obj._annotated_type.value if _is_annotated(obj) else None


def PublicAPI(*args: Any, **given: Any) -> Any:
    """Marks an interface for everybody."""
    return _mark(AnnotationType.PUBLIC_API, args, {"stability", "api_group"}, given)


def DeveloperAPI(*args: Any, **given: Any) -> Any:
    """Marks an interface for authors of libraries."""
    return _mark(AnnotationType.DEVELOPER_API, args, {"stability", "api_group"}, given)


def Deprecated(*args: Any, **given: Any) -> Any:
    """Marks what will go; with warning=True its use warns."""
    warns = given.pop("warning", False)
    mark = _mark(AnnotationType.DEPRECATED, args, {"message"}, given)
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
