"""Classes and functions that go by value, as those of a script or a notebook do.

cloudpickle writes such a class out, with the code of its methods, beside each of its instances, and
whoever reads one makes all methods anew.  For a class that is as it was when it went the last time
that is not needed: the same bytes go once more, under a name that both sides remember, and a reader
who has made the class from them takes that.  Likewise functions, from the second time on: many go
once only.

It must not be seen.  So a class is remembered only if everything that its pickle depends on can be
watched: functions that assign no globals and whose globals, defaults and closures are constants,
importable things or such classes and functions themselves.  `Watch` notes where all of it was
found, and `holds` looks whether it is there still: on the side of the writer and on that of the
reader, who may have changed the class meanwhile, and then gets it as it was sent.

Classes that a class depends on have their own bytes within its bytes: reading one does not make the
others anew.  Only where two depend on each other do both make both.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import dis
import enum
import functools
import hashlib
import io
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle as _plain

from whipray import _core, cloudpickle

MOST = 256
"""How many classes a process remembers."""
MOST_WATCHED = 500
"""Functions and classes that one class may depend on."""
MOST_CLASSES = 30
"""And classes: the bytes of each hold those of the others."""
MOST_CHANGES = 8
"""How often a class may have changed: one that counts its instances goes anew each time."""
MOST_BYTES = 128 << 10
"""Pickles that are kept: larger ones take their time in any case."""

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
KINDS = METACLASSES | {types.FunctionType}
"""Types of what may be remembered."""
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
        if not self._new(cls) or _goes_by_name(cls):
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
        for value in self._items(found, tuple(found)):
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
            if sys.modules.get(value.__name__) is not value or _is_script(value.__name__):
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
        if not self._new(function) or _goes_by_name(function):
            return
        code = function.__code__
        if any(_assigns(each) for each in _codes(code)):
            raise CannotWatch(function)
        parts = code, function.__defaults__, function.__kwdefaults__, len(function.__dict__)
        self._parts.append((function, *parts))
        self._todo.extend(function.__defaults__ or ())
        for mapping in (function.__kwdefaults__, function.__dict__):
            if mapping:
                self._mapping(mapping, tuple(mapping))
        self._annotations(function.__annotations__)
        self._mapping(function.__globals__, tuple(_inner._extract_code_globals(code)))
        for cell in function.__closure__ or ():
            content = _content(cell)
            self._parts.append((cell, content))
            if content is not _MISSING and not _marks_recursion(content, function):
                self._todo.append(content)

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


def _is_script(module: str) -> bool:
    return module in ("__main__", "__mp_main__")


def _goes_by_name(thing: Any) -> bool:
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


# ---- what is remembered --------------------------------------------------------------------------


class Known:
    """A class or function, its pickle, and what that depends on."""

    def __init__(self, thing: Any, digest: bytes, pickled: bytes, changes: int) -> None:
        self.thing = thing
        self.digest = digest
        self.pickled = pickled
        self.changes = changes
        self.watch = Watch(thing)


_known: dict[Any, Known] = {}
"""By class or function."""
_by_digest: dict[bytes, Known] = {}
_unwatched: weakref.WeakSet[Any] = weakref.WeakSet()
"""What goes anew each time; it lives no longer for it, as it may refer to actors, say."""
_gone_once: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()


def reduced(thing: Any) -> tuple[Any, ...] | None:
    """What stands for the class or function in a pickle; None: cloudpickle knows better."""
    known = _known.get(thing)
    if known is None:
        known = _learn(thing, 0) if _is_worth_it(thing) else None
    elif not known.watch.holds():
        known = _learn(thing, known.changes + 1)
    return None if known is None else (revived, (known.digest, known.pickled))


def revived(digest: bytes, pickled: bytes) -> Any:
    """The class or function that `pickled` makes, as it makes it."""
    known = _by_digest.get(digest)
    if known is not None and known.watch.holds():
        return known.thing
    thing = cloudpickle.loads(pickled)
    before = _known.get(thing)
    _remember(thing, digest, pickled, before.changes if before is not None else 0)
    return thing


def _is_worth_it(thing: Any) -> bool:
    if not _may_go_by_value(thing) or thing in _unwatched:
        return False
    if type(thing) is not types.FunctionType or thing in _gone_once:
        return True
    _gone_once.add(thing)
    return False


def _may_go_by_value(thing: Any) -> bool:
    return _is_script(thing.__module__) or "<locals>" in thing.__qualname__


def _learn(thing: Any, changes: int) -> Known | None:
    if _goes_by_name(thing):
        return None
    pickled = _pickled(thing) if changes <= MOST_CHANGES else None
    if pickled is None or len(pickled) > MOST_BYTES:
        _forget(thing)
        return None
    digest = hashlib.blake2b(pickled, digest_size=16).digest()
    return _remember(thing, digest, pickled, changes)


def _forget(thing: Any) -> None:
    _known.pop(thing, None)
    _unwatched.add(thing)


def _remember(thing: Any, digest: bytes, pickled: bytes, changes: int) -> Known | None:
    try:
        known = Known(thing, digest, pickled, changes)
    except CannotWatch:
        _by_digest.pop(digest, None)
        _forget(thing)
        return None
    if thing not in _unwatched:
        _keep(_known, thing, known)
    _keep(_by_digest, digest, known)
    return known


def _keep(table: dict[Any, Any], key: Any, value: Any) -> None:
    table.pop(key, None)
    for old in list(table)[: max(0, len(table) + 1 - MOST)]:
        table.pop(old, None)
    table[key] = value


class _Definition(cloudpickle.Pickler):
    """Writes one class or function, by value; classes that it depends on as in any pickle."""

    def __init__(self, file: io.BytesIO, thing: Any) -> None:
        super().__init__(file, protocol=5)
        self._thing = thing

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in METACLASSES and _may_go_by_value(obj) and not _depends(obj, self._thing):
            made = reduced(obj)
            if made is not None:
                return made
        return NotImplemented if obj is revived else super().reducer_override(obj)


def _pickled(thing: Any) -> bytes | None:
    file = io.BytesIO()
    try:
        Watch(thing)
        _Definition(file, thing).dump(thing)
    except Exception:  # of too many that lie in each other, say: what is wrong will be said of all
        return None
    return file.getvalue()


def _depends(cls: type, on: Any) -> bool:
    known = _known.get(cls)
    try:
        watch = known.watch if known is not None and known.watch.holds() else Watch(cls)
    except CannotWatch:
        return True
    return on in watch.classes
