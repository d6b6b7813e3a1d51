"""Helpers on top of the core: pools, queues, iteration over results as they arrive."""

from __future__ import annotations

import sys as _sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from whipray import _core
from whipray._core import ObjectRef

if TYPE_CHECKING:
    from whipray.util import joblib as joblib
    from whipray.util import multiprocessing as multiprocessing
    from whipray.util import queue as queue
    from whipray.util import scheduling_strategies as scheduling_strategies
    from whipray.util import state as state
    from whipray.util.actor_pool import ActorPool
    from whipray.util.placement_group import (
        get_current_placement_group,
        get_placement_group,
        placement_group,
        placement_group_table,
        remove_placement_group,
    )

T = TypeVar("T")
_MODULES = frozenset(
    "accelerators actor_group actor_pool annotations collective dask debug iter joblib "
    "metrics multiprocessing queue scheduling_strategies serialization state".split()
)

__all__ = [
    "ActorPool",
    "as_completed",
    "deregister_serializer",
    "get_current_placement_group",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "joblib",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "multiprocessing",
    "placement_group",
    "placement_group_table",
    "queue",
    "register_serializer",
    "remove_placement_group",
    "scheduling_strategies",
    "state",
]

_GROUPS = frozenset(
    "placement_group remove_placement_group get_placement_group placement_group_table "
    "get_current_placement_group".split()
)


class _Util(_ModuleType):
    """`util.placement_group` is the function, although there is a module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "placement_group" and isinstance(value, _ModuleType):
            value = value.placement_group
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, (self.__name__, None, None, ("",))


_sys.modules[__name__].__class__ = _Util


def __getattr__(name: str) -> Any:
    if name == "ActorPool":
        from whipray.util.actor_pool import ActorPool

        return ActorPool
    if name in _MODULES:
        __import__(f"whipray.util.{name}")
        return _sys.modules[f"whipray.util.{name}"]
    if name in _GROUPS:
        __import__("whipray.util.placement_group")
        return getattr(_sys.modules["whipray.util.placement_group"], name)
    from whipray._private.absent import no_attribute

    raise no_attribute(__name__, name)


def as_completed(
    refs: Sequence[ObjectRef[T]],
    *,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
) -> Iterator[Any]:
    """The values (or the references) in the order in which they become ready.

    Values are fetched in groups of up to `chunk_size`.
    """
    from whipray._private import worker

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    worker.ensure_attached()
    pending: _core.ReadySet[T] = _core.ReadySet(refs)
    while pending:
        ready = pending.take(chunk_size)
        yield from ready if yield_obj_refs else _core.get(ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
) -> Iterator[Any]:
    """Run the remote function on every item; results in the order in which they become ready.

    At most `backpressure_size` tasks are unfinished at a time (None: no limit).
    """
    from whipray._private import worker

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if backpressure_size is not None and backpressure_size < chunk_size:
        raise ValueError("backpressure_size must be at least chunk_size")
    limit = float("inf") if backpressure_size is None else backpressure_size
    worker.ensure_attached()
    pending: _core.ReadySet[Any] = _core.ReadySet(())
    source = iter(items)
    exhausted = False
    while pending or not exhausted:
        while not exhausted and len(pending) < limit:
            try:
                pending.add(fn.remote(next(source)))
            except StopIteration:
                exhausted = True
        ready = pending.take(chunk_size)
        yield from ready if yield_obj_refs else _core.get(ready)


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of living actors in this namespace; with all_namespaces dicts of name and namespace."""
    from whipray._private import worker

    worker.ensure_attached()
    found = _core.named_actors()
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for name, namespace in found]
    return [name for name, namespace in found if namespace == worker.state.namespace]


def get_node_ip_address() -> str:
    """Address of this node."""
    from whipray._private import state

    return state.node_ip()


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: Any = None
) -> tuple[bool, set[Any]]:
    """Find out why an object can not be pickled: (it can, the culprits)."""
    from whipray._private import serialize_check

    return serialize_check.inspect_serializability(base_obj, name, depth, print_file)


def register_serializer(
    cls: type[Any], *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """Use these functions, in this process, to write and read instances of `cls`."""
    from whipray._private import serialization

    serialization.register_serializer(cls, serializer=serializer, deserializer=deserializer)


def deregister_serializer(cls: type[Any]) -> None:
    """Undo register_serializer."""
    from whipray._private import serialization

    serialization.deregister_serializer(cls)


_logged: set[str] = set()


def log_once(key: str) -> bool:
    """True the first time it is asked with this key."""
    if key in _logged:
        return False
    _logged.add(key)
    return True
