"""Whether a class or function that goes by value is still what it was when its pickle was made.

That can be told of those for which everything that the pickle depends on can be watched: functions
that assign no globals and whose globals, defaults and closures are constants, importable things or
such classes and functions themselves.  `Watch` notes where all of it was found, `holds` looks
whether it is there still.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import dis
import enum
import functools
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle as _plain

from whipray import _core

MOST_WATCHED = 500
"""Functions and classes that one class may depend on."""
MOST_CLASSES = 30
"""And classes: the bytes of each hold those of the others."""

_inner = _plain.cloudpickle
_MISSING = object()
_ATOMS = frozenset(
    (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range)
)
_FIXED = frozenset(
    (
        types.WrapperDescriptorType,
        types.MethodDescriptorType,
        types.ClassMethodDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
        typing.ForwardRef,
        type(typing.Union),
        type(collections.namedtuple("pair", "a").a),  # type: ignore[attr-defined]
    )
)
"""Types of what never changes and depends on nothing."""
METACLASSES = frozenset((type, abc.ABCMeta, enum.EnumMeta))
_OF_PYTHON = frozenset(
    (
        "__dict__",
        "__weakref__",
        "__module__",
        "__doc__",
        "__slotnames__",
        "__dataclass_params__",
        "_abc_impl",
    )
)
"""What Python notes at a class: __slotnames__ when an instance is pickled."""
_STORES = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))
_STORES_FREE = frozenset(("STORE_DEREF", "DELETE_DEREF"))


class CannotWatch(Exception):
    """The class or function depends on this, which may change without being seen."""


class Watch:
    """Where everything was found that the pickle of a class or function depends on."""

    def __init__(self, thing: Any) -> None:
        self.classes: set[type] = set()
        self._seen: set[int] = set()
        self._parts: list[tuple[Any, ...]] = []
        self._token: object = None
        self._todo: list[Any] = [thing]
        while self._todo:
            self._value(self._todo.pop())
        self._looked_at = tuple(self._parts)
        self._registry = _plain.list_registry_pickle_by_value()

    def holds(self) -> bool:
        """All of it is where it was."""
        if not _core.unchanged(self._looked_at, _MISSING):
            return False
        if self._token is not None and abc.get_cache_token() != self._token:
            return False  # a class was registered with an abstract one
        return bool(_plain.list_registry_pickle_by_value() == self._registry)

    def _new(self, thing: object) -> bool:
        if id(thing) in self._seen:
            return False
        if len(self._seen) >= MOST_WATCHED:
            raise CannotWatch(thing)
        self._seen.add(id(thing))
        return True

    def _class(self, cls: type) -> None:
        if not self._new(cls) or goes_by_name(cls):
            return
        if type(cls) not in METACLASSES:
            raise CannotWatch(cls)
        if len(self.classes) >= MOST_CLASSES:
            raise CannotWatch(cls)
        own = vars(cls)
        self.classes.add(cls)
        if type(cls) is enum.EnumMeta:
            self._members(cls)
        if type(cls) is abc.ABCMeta:
            self._token = abc.get_cache_token()
        self._parts.append((cls, cls.__bases__, tuple(own), tuple(own.values())))
        self._todo.extend(cls.__bases__)
        for name, value in own.items():
            if name == "__annotations__":
                self._annotations(value)
            elif name == "__dataclass_fields__":
                for field in value.values():
                    self._field(field)
            elif name == "_field_defaults" and issubclass(cls, tuple):
                self._mapping(value, tuple(value))
            elif name not in _OF_PYTHON and not _is_table(cls, name, value):
                self._todo.append(value)

    def _members(self, cls: Any) -> None:
        """What an enumeration consists of; the tables that it has of them follow from that."""
        self._whole(cls._member_map_)
        for member in cls._member_map_.values():
            self._seen.add(id(member))
            self._todo.extend(self._whole(vars(member)))

    def _field(self, field: Any) -> None:
        if type(field) is not dataclasses.Field or field.metadata:
            raise CannotWatch(field)
        self._todo += field.default, field.default_factory
        self._annotation(field.type)

    def _annotations(self, found: Any) -> None:
        if type(found) is not dict:
            raise CannotWatch(found)
        for value in self._whole(found):
            self._annotation(value)

    def _annotation(self, value: Any) -> None:
        """A type, or one with arguments; typing's own are not changed by anybody."""
        args = getattr(value, "__args__", None)
        if args is None or isinstance(value, type):
            self._todo.append(value)
            return
        if type(value).__module__ not in ("typing", "types", "collections.abc"):
            raise CannotWatch(value)
        self._todo.append(typing.get_origin(value))
        for arg in args:
            self._annotation(arg)

    def _value(self, value: Any) -> None:
        kind = type(value)
        if kind in _ATOMS or kind in _FIXED or _is_mark(value) or id(value) in self._seen:
            return
        look = _LOOKS.get(kind)
        if look is not None:
            self._todo.extend(look(value))
        elif kind is types.FunctionType:
            self._function(value)
        elif kind is types.BuiltinFunctionType:
            self._todo.append(value.__self__)  # what it is bound to: a module or a class
        elif isinstance(value, types.ModuleType):
            if sys.modules.get(value.__name__) is not value or is_script(value.__name__):
                raise CannotWatch(value)
        elif isinstance(value, type):
            self._class(value)
        elif kind is typing.TypeVar:
            self._todo += value.__bound__, value.__constraints__
        elif hasattr(value, "__args__"):
            self._annotation(value)
        else:
            raise CannotWatch(value)

    def _function(self, function: types.FunctionType) -> None:
        if not self._new(function) or goes_by_name(function):
            return
        code = function.__code__
        if any(_assigns(each) for each in _codes(code)):
            raise CannotWatch(function)
        texts = function.__name__, function.__qualname__, function.__doc__
        parts = code, function.__defaults__, function.__kwdefaults__, *texts
        self._parts.append((function, *parts, len(function.__dict__)))
        self._todo.extend(function.__defaults__ or ())
        for mapping in (function.__kwdefaults__, function.__dict__):
            if mapping:
                self._mapping(mapping, tuple(mapping))
        self._annotations(function.__annotations__)
        names = tuple(_inner._extract_code_globals(code))
        self._mapping(function.__globals__, names)
        for name in names:
            self._submodules(function.__globals__.get(name), code)
        for cell in function.__closure__ or ():
            content = _content(cell)
            self._submodules(content, code)
            self._parts.append((cell, content))
            if content is not _MISSING and not _marks_recursion(content, function):
                self._todo.append(content)

    def _submodules(self, package: Any, code: types.CodeType) -> None:
        """Those that may go along with a function that uses the package, once they are imported."""
        if isinstance(package, types.ModuleType) and package.__package__:
            names = tuple(f"{package.__name__}.{name}" for name in code.co_names)
            for found in self._items(sys.modules, names):
                self._submodules(found, code)

    def _mapping(self, mapping: dict[str, Any], names: tuple[str, ...]) -> None:
        found = self._items(mapping, names)
        self._todo.extend(value for value in found if value is not _MISSING)

    def _items(self, found: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
        """What stands there under the names, from now on watched."""
        values = tuple(found.get(name, _MISSING) for name in names)
        if names:
            self._parts.append((found, names, values))
        return values

    def _whole(self, found: dict[str, Any]) -> tuple[Any, ...]:
        """All that stands there, from now on watched, and that nothing is added."""
        values = tuple(found.values())
        self._parts.append((found, None, tuple(found), values))
        return values


def _is_mark(value: Any) -> bool:
    """What data classes have for "none given" and the like."""
    return type(value).__module__ == "dataclasses" and not getattr(value, "__dict__", True)


def _is_table(cls: type, name: str, value: Any) -> bool:
    """Of those that an enumeration has of its members: `_value2member_map_` and others."""
    reserved = name.startswith("_") and name.endswith("_") and not name.startswith("__")
    is_method = isinstance(value, types.FunctionType | staticmethod | classmethod)
    return type(cls) is enum.EnumMeta and reserved and not is_method


def is_script(module: str) -> bool:
    return module in ("__main__", "__mp_main__")


def goes_by_name(thing: Any) -> bool:
    return bool(_inner._should_pickle_by_reference(thing))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return _MISSING


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


def _assigns(code: types.CodeType) -> bool:
    """Whether it assigns what outlives its calls."""
    return any(
        step.opname in _STORES or (step.opname in _STORES_FREE and step.argval in code.co_freevars)
        for step in dis.get_instructions(code)
    )


def _marks_recursion(content: Any, function: types.FunctionType) -> bool:
    """The set in which the `__repr__` of a data class notes that it runs."""
    made_by = function.__globals__.get("__name__")
    return type(content) is set and not content and made_by in ("dataclasses", "reprlib")


_LOOKS: dict[type, Callable[[Any], Any]] = {
    tuple: tuple,
    frozenset: tuple,
    staticmethod: lambda found: (found.__func__,),
    classmethod: lambda found: (found.__func__,),
    property: lambda found: (found.fget, found.fset, found.fdel),
    functools.cached_property: lambda found: (found.func,),
}
