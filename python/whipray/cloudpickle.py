"""cloudpickle under the name that Ray gives it: `whipray.cloudpickle`.

Four things differ from the package.  Functions keep the name of the file they come from, whatever
version of cloudpickle is installed (3.1.3 drops it), so that a traceback from a worker shows the
user's line.  Classes keep their `__slots__`: instances that a worker makes are as those of the
driver.  Functions under `functools.cache` or `lru_cache` go by value where others do, and so does
`cached_property`: each process has a cache of its own.  And what the program's script defines goes
by value also where multiprocessing has started this process (spawn, forkserver) and calls the
script `__mp_main__`.
"""

from __future__ import annotations

import functools
import io
import sys
from collections import ChainMap
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import IO, Any, ClassVar

import cloudpickle as _cloudpickle
from cloudpickle import *  # noqa: F403
from cloudpickle import load as load
from cloudpickle import loads as loads

_Base: type[Any] = _cloudpickle.Pickler
_FILENAME = 10  # position of co_filename among the arguments of CodeType
_SPAWNED_MAIN = "__mp_main__"

if getattr(sys.modules.get(_SPAWNED_MAIN), "__name__", None) == _SPAWNED_MAIN:
    _cloudpickle.register_pickle_by_value(ModuleType(_SPAWNED_MAIN))  # the name is what counts


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    made: tuple[Any, ...] = _Base.dispatch_table[CodeType](code)
    constructor, args = made[:2]
    if constructor is not CodeType:
        return made
    return constructor, (*args[:_FILENAME], code.co_filename, *args[_FILENAME + 1 :])


_NAMESPACE = 3  # position of what a class has from the start among the arguments that make it


def _with_slots(cls: type, made: tuple[Any, ...]) -> tuple[Any, ...]:
    slots = cls.__dict__.get("__slots__")
    if made[0] is not _make_class or not isinstance(slots, str | tuple | list | dict):
        return made
    if issubclass(
        cls, tuple
    ):  # a named tuple has its own idea of them, which is that of all tuples
        return made
    args = made[1]
    namespace = {**args[_NAMESPACE], "__slots__": slots}
    return made[0], (*args[:_NAMESPACE], namespace, *args[_NAMESPACE + 1 :]), *made[2:]


_make_class = getattr(_cloudpickle.cloudpickle, "_make_skeleton_class", None)


# ---- functools ----------------------------------------------------------------------------------


def _reduce_cached(cached: Any) -> str | tuple[Any, ...]:
    """By name where a worker finds it; else an empty shell first, since it may call itself."""
    if _is_found(cached):
        return str(cached.__qualname__)
    facts = {name: value for name, value in vars(cached).items() if name != "cache_parameters"}
    return _cached_shell, tuple(cached.cache_parameters().values()), facts, None, None, _fill_shell


def _is_found(cached: Any) -> bool:
    module = sys.modules.get(cached.__module__)
    if module is None or cached.__module__ in ("__main__", _SPAWNED_MAIN):
        return False
    packages = [cached.__module__]
    while "." in packages[-1]:
        packages.append(packages[-1].rpartition(".")[0])
    if not _cloudpickle.list_registry_pickle_by_value().isdisjoint(packages):
        return False
    found: Any = module
    for name in cached.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cached


def _cached_shell(maxsize: int | None, typed: bool) -> Any:
    @functools.lru_cache(maxsize, typed)
    def shell(*args: Any, **kwargs: Any) -> Any:
        return shell.__wrapped__(*args, **kwargs)

    return shell


def _fill_shell(shell: Any, facts: dict[str, Any]) -> None:
    vars(shell).update(facts)  # __wrapped__ is the function


def _reduce_property(found: Any) -> tuple[Any, ...]:
    """Without its lock, which it has up to Python 3.11."""
    facts = {name: value for name, value in vars(found).items() if name != "lock"}
    return functools.cached_property, (found.func,), facts


_REDUCERS: dict[type, Callable[[Any], str | tuple[Any, ...]]] = {
    CodeType: _reduce_code,
    functools._lru_cache_wrapper: _reduce_cached,
    functools.cached_property: _reduce_property,
}


class Pickler(_Base):  # type: ignore[misc]
    """cloudpickle's, with what the module says."""

    dispatch_table: ClassVar[Any] = ChainMap(_REDUCERS, _Base.dispatch_table)

    def reducer_override(self, obj: Any) -> Any:
        """How functions and classes travel; see `pickle.Pickler.reducer_override`."""
        made = super().reducer_override(obj)
        by_value = isinstance(obj, type) and made is not NotImplemented
        return _with_slots(obj, made) if by_value else made


CloudPickler = Pickler


def dump(
    obj: object,
    file: IO[bytes],
    protocol: int | None = None,
    buffer_callback: Callable[[Any], Any] | None = None,
) -> None:
    """Pickle obj into file, functions and classes by value where they cannot be imported."""
    Pickler(file, protocol=protocol, buffer_callback=buffer_callback).dump(obj)


def dumps(
    obj: object,
    protocol: int | None = None,
    buffer_callback: Callable[[Any], Any] | None = None,
) -> bytes:
    """The pickle of obj, functions and classes by value where they cannot be imported."""
    file = io.BytesIO()
    dump(obj, file, protocol, buffer_callback)
    return file.getvalue()


def __getattr__(name: str) -> Any:
    return getattr(_cloudpickle, name)
