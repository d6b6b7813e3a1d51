"""Helpers on top of the core: pools, queues, iteration over results as they arrive."""

from __future__ import annotations

import builtins as _builtins
import sys as _sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from whipray import _core
from whipray._core import ObjectRef

del annotations  # of __future__: the name is that of a module here

if TYPE_CHECKING:
    from whipray.util import accelerators as accelerators
    from whipray.util import collective as collective
    from whipray.util import debugpy as ray_debugpy
    from whipray.util import iter as iter
    from whipray.util import joblib as joblib
    from whipray.util import multiprocessing as multiprocessing
    from whipray.util import queue as queue
    from whipray.util import rpdb as pdb
    from whipray.util import scheduling_strategies as scheduling_strategies
    from whipray.util import state as state
    from whipray.util.actor_pool import ActorPool
    from whipray.util.arrays import shared_arrays
    from whipray.util.client_connect import connect, disconnect
    from whipray.util.debug import (
        disable_log_once_globally,
        enable_periodic_logging,
        log_once,
    )
    from whipray.util.placement_group import (
        get_current_placement_group,
        get_placement_group,
        placement_group,
        placement_group_table,
        remove_placement_group,
    )

T = TypeVar("T")
_MODULES = frozenset(
    "accelerators actor_group actor_pool annotations client_connect collective dask debug debugpy "
    "helpers iter joblib metrics multiprocessing queue rpdb scheduling_strategies serialization "
    "state timer".split()
)
_ALIASES = {"pdb": "rpdb", "ray_debugpy": "debugpy"}
_ELSEWHERE = {
    "ActorPool": "actor_pool",
    "connect": "client_connect",
    "disable_log_once_globally": "debug",
    "disconnect": "client_connect",
    "enable_periodic_logging": "debug",
    "get_current_placement_group": "placement_group",
    "get_placement_group": "placement_group",
    "log_once": "debug",
    "placement_group": "placement_group",
    "placement_group_table": "placement_group",
    "remove_placement_group": "placement_group",
    "shared_arrays": "arrays",
}
"""Names and the modules that have them."""

__all__ = [
    "ActorPool",
    "accelerators",
    "as_completed",
    "collective",
    "connect",
    "deregister_serializer",
    "disable_log_once_globally",
    "disconnect",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "iter",
    "joblib",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "multiprocessing",
    "pdb",
    "placement_group",
    "placement_group_table",
    "queue",
    "ray_debugpy",
    "register_serializer",
    "remove_placement_group",
    "scheduling_strategies",
    "shared_arrays",
    "state",
]


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
    module = _ELSEWHERE.get(name)
    if module is not None:
        __import__(f"whipray.util.{module}")
        return getattr(_sys.modules[f"whipray.util.{module}"], name)
    name = _ALIASES.get(name, name)
    if name in _MODULES:
        try:
            __import__(f"whipray.util.{name}")
        except ModuleNotFoundError as error:  # `hasattr` and `getmembers` ask for all there is
            raise AttributeError(f"whipray.util.{name} needs more: {error}") from error
        return _sys.modules[f"whipray.util.{name}"]
    from whipray._private.absent import no_attribute

    raise no_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def as_completed(
    refs: Sequence[ObjectRef[T]],
    *,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> Iterator[Any]:
    """The values (or the references) in the order in which they become ready.

    Values are fetched in groups of up to `chunk_size`; a group takes what is there after `timeout`
    seconds.  `fetch_local` changes nothing.
    """
    from whipray._private import worker

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    worker.ensure_attached()
    pending: _core.ReadySet[T] = _core.ReadySet(refs)
    while pending:
        ready = pending.take(chunk_size, timeout)
        yield from ready if yield_obj_refs else _core.get(ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> Iterator[Any]:
    """Run the remote function on every item; results in the order in which they become ready.

    At most `backpressure_size` tasks are unfinished at a time (None: no limit).  The others are as
    for `as_completed`.
    """
    from whipray._private import worker

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if backpressure_size is not None and backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    limit = float("inf") if backpressure_size is None else backpressure_size
    worker.ensure_attached()
    pending: _core.ReadySet[Any] = _core.ReadySet(())
    source = _builtins.iter(items)  # `iter` is a module of this package
    exhausted = False
    while pending or not exhausted:
        while not exhausted and len(pending) < limit:
            try:
                pending.add(fn.remote(next(source)))
            except StopIteration:
                exhausted = True
        ready = pending.take(chunk_size, timeout)
        yield from ready if yield_obj_refs else _core.get(ready)


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of living actors in this namespace; with all_namespaces dicts of name and namespace."""
    from whipray._private import worker

    worker.ensure_attached()
    found = _core.named_actors()
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for name, namespace in found]
    return [name for name, namespace in found if namespace == worker.state.namespace]


def get_node_ip_address(address: str | None = None) -> str:
    """Address of this node; `address`, which Ray would try to reach, changes nothing."""
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


def get_node_instance_id() -> str:
    """ "": this node is no instance of a cloud."""
    return ""
