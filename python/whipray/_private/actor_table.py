"""Which methods an actor class has, numbered, and what a caller must know of each.

The table is made from the class where the class is; other processes get it as the class's public
description, which needs nothing but msgpack and so works without the class's module.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, NamedTuple

from whipray import _core
from whipray._private import options, signatures

BUILTIN = ("__ray_ready__", "__ray_call__", "__ray_terminate__")
"""Methods 0, 1 and 2 of every actor."""
READY, CALL, TERMINATE = range(3)
_BUILTIN_BOUNDS = {"__ray_ready__": (0, 0), "__ray_call__": (1, -1), "__ray_terminate__": (0, 0)}
MARK = "__ray_method_options__"
"""Attribute in which @method leaves its options."""
ASYNC_CONCURRENCY = 1000

Parameter = tuple[str, int, bool]
"""(name, kind as in inspect.Parameter, has a default)."""


class Method(NamedTuple):
    """One method of a class, as seen by the caller."""

    name: str
    function: Any
    skip: int
    marks: dict[str, Any]


class Table:
    """The methods of one class."""

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.methods = [method for name in _names(cls) if (method := _method(cls, name))]
        self.is_async = any(signatures.is_coroutine(method.function) for method in self.methods)

    def order(self) -> list[str]:
        """Names by number."""
        return [*BUILTIN, *(method.name for method in self.methods)]

    def infos(self, task_retries: int, groups: list[str]) -> dict[str, _core.MethodInfo]:
        """What a handle needs to call each method."""
        table: dict[str, _core.MethodInfo] = {
            name: (number, 1, *_BUILTIN_BOUNDS[name], 0, 0, False, 0)
            for number, name in enumerate(BUILTIN)
        }
        for number, method in enumerate(self.methods, len(BUILTIN)):
            table[method.name] = _info(number, method, task_retries, groups)
        return table

    def facts(self, groups: list[str]) -> dict[str, Any]:
        """What handles show and check beside the methods."""
        return {
            "class": self.cls.__name__,
            "shown": self.cls.__qualname__,
            "module": self.cls.__module__,
            "async": self.is_async,
            "groups": groups,
            "generators": [m.name for m in self.methods if signatures.is_generator(m.function)],
            "parameters": {m.name: parameters(m.function, m.skip) for m in self.methods},
        }


def _names(cls: type[Any]) -> list[str]:
    """Everything defined in the class or its bases, in order of definition, bases first."""
    found: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if base is not object:
            found.update(dict.fromkeys(vars(base)))
    return list(found)


def _method(cls: type[Any], name: str) -> Method | None:
    """The method `name`, or None when it is something else."""
    if name in BUILTIN:
        return None
    raw = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    inner = getattr(raw, "__func__", raw)
    if not isinstance(inner, FunctionType) and not _is_like_function(inner):
        return None
    skip = 0 if isinstance(raw, staticmethod) else 1
    return Method(name, inner, skip, getattr(inner, MARK, {}))


def _is_like_function(value: Any) -> bool:
    """Decorated functions that are objects, and compiled ones."""
    if isinstance(value, type | property | _core.TaskSubmitter) or not callable(value):
        return False
    return hasattr(value, "__wrapped__") or type(value).__name__ == "cython_function_or_method"


def _info(number: int, method: Method, task_retries: int, groups: list[str]) -> _core.MethodInfo:
    marks = method.marks
    retries = marks.get("max_task_retries")
    least, most = signatures.bounds(method.function, method.skip)
    return (
        number,
        options.returns(marks.get("num_returns"), signatures.is_generator(method.function)),
        least,
        most,
        task_retries if retries is None else retries,
        group_number(groups, marks.get("concurrency_group")),
        bool(marks.get("retry_exceptions")),
        options.room(marks.get("_generator_backpressure_num_objects")),
    )


def group_number(groups: list[str], name: str | None) -> int:
    """0 for the default group, else 1 + the place of `name`; ValueError for an unknown one."""
    if name is None or name == "_default":
        return 0
    if name not in groups:
        raise ValueError(
            f"The concurrency group {name!r} is not defined for this actor; it has {groups}."
        )
    return groups.index(name) + 1


# ---- parameters ----------------------------------------------------------------------------------

_POSITIONAL_ONLY, _EITHER, _STAR, _KEYWORD, _DOUBLE_STAR = range(5)


def parameters(function: Any, skip: int) -> list[Parameter] | None:
    """The parameters a caller gives; None when they can not be known."""
    if type(function) is FunctionType and not hasattr(function, "__wrapped__"):
        if "__signature__" not in function.__dict__:
            return _from_code(function, skip)
    import inspect

    try:
        found = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None
    if skip and found and found[0].kind in (_POSITIONAL_ONLY, _EITHER):
        found = found[1:]
    return [(p.name, int(p.kind), p.default is not p.empty) for p in found]


def _from_code(function: FunctionType, skip: int) -> list[Parameter]:
    code = function.__code__
    count, keywords = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    first_default = count - len(function.__defaults__ or ())
    found: list[Parameter] = [
        (name, _POSITIONAL_ONLY if at < code.co_posonlyargcount else _EITHER, at >= first_default)
        for at, name in enumerate(names[:count])
    ][skip:]
    rest = count + keywords
    if code.co_flags & signatures.VARARGS:
        found.append((names[rest], _STAR, False))
        rest += 1
    defaults = function.__kwdefaults__ or {}
    found += [(name, _KEYWORD, name in defaults) for name in names[count : count + keywords]]
    if code.co_flags & signatures.VARKEYWORDS:
        found.append((names[rest], _DOUBLE_STAR, False))
    return found


class _SomeDefault:
    """Stands for a default value that only the actor knows."""

    def __repr__(self) -> str:
        return "..."


_SOME_DEFAULT = _SomeDefault()


def signature_of(found: list[Parameter] | list[list[Any]]) -> Any:
    """The inspect.Signature with these parameters."""
    import inspect

    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect._ParameterKind(kind),
                default=_SOME_DEFAULT if has_default else inspect.Parameter.empty,
            )
            for name, kind, has_default in found
        ]
    )


# ---- the public description ----------------------------------------------------------------------


def pack_description(methods: dict[str, _core.MethodInfo], facts: dict[str, Any]) -> bytes:
    """The description as the session stores it."""
    return _core.pack({"methods": {k: list(v) for k, v in methods.items()}, "facts": facts})


def unpack_description(data: bytes) -> tuple[dict[str, _core.MethodInfo], dict[str, Any]]:
    """Reverse of `pack_description`."""
    found = _core.unpack(data)
    methods: Any = {name: tuple(info) for name, info in found["methods"].items()}
    return methods, found["facts"]


def check_marks(given: dict[str, Any]) -> None:
    """Refuse what @method does not know."""
    for name in given:
        if name not in options.METHOD or name == "name":
            known = [known for known in options.METHOD if known != "name"]
            raise ValueError(
                f"Unexpected keyword argument to @ray.method: '{name}'. The supported keyword "
                f"arguments are {known}"
            )
    options.check_method(given)
