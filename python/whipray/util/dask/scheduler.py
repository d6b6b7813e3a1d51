"""A scheduler for Dask: one task for each task of a graph, submitted at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import dask
from dask._task_spec import Alias, DataNode, GraphNode, Task, convert_legacy_graph
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from dask.order import order

from whipray import _core
from whipray._private import api, worker
from whipray.util.dask.callbacks import RayCallback, local_ray_callbacks, unpack_ray_callbacks

Key = Hashable
Graph = dict[Key, GraphNode]
_SHUFFLE = "dataframe.shuffle.method"


def enable_dask_on_ray(shuffle: str | None = "tasks", use_shuffle_optimization: bool = True) -> Any:
    """Make ray_dask_get the scheduler of Dask; `with` limits that to its block."""
    return dask.config.set({"scheduler": ray_dask_get, _SHUFFLE: shuffle})


def disable_dask_on_ray() -> Any:
    """Give Dask its own schedulers back."""
    return dask.config.set({"scheduler": None, _SHUFFLE: None})


def ray_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute keys of a graph: `collection.compute(scheduler=ray_dask_get)`.

    Options in kwargs: ray_remote_args for the tasks, also as annotation of a layer; ray_callbacks;
    ray_persist: return references.  What is meant for Dask's own schedulers has no meaning here.
    """
    worker.ensure_attached()
    remote_args = kwargs.get("ray_remote_args") or {}
    _refuse_resources(kwargs, dask.get_annotations())
    source = _source(dsk)
    scoped = _scoped_args(source, remote_args)
    graph: Graph = convert_legacy_graph(source)
    with local_ray_callbacks(kwargs.get("ray_callbacks")) as active:
        steps = unpack_ray_callbacks(active)
        made = _submit_all(graph, keys, scoped, steps)
        refs = _nested(keys, made)
        for after in steps.ray_postsubmit_all:
            after(refs, graph)
        wanted = dict.fromkeys(flatten([keys]))
        made = {key: made[key] for key in wanted}  # let go of what is needed in between only
        result = refs
        if not kwargs.get("ray_persist"):
            values = dict(zip(wanted, _core.get(list(made.values())), strict=True))
            result = _nested(keys, values)
        for finish in steps.ray_finish:
            finish(result)
    return result


def ray_dask_get_sync(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """The same as ray_dask_get: tasks are submitted by the calling thread."""
    return ray_dask_get(dsk, keys, **kwargs)


def _source(dsk: Any) -> Any:
    """The mapping behind a graph or an expression."""
    if isinstance(dsk, Mapping):
        return dsk
    return dsk._optimized_dsk if hasattr(dsk, "_optimized_dsk") else dsk.__dask_graph__()


def _nested(keys: Any, values: dict[Key, Any]) -> Any:
    """`values` in the shape of `keys`."""
    if isinstance(keys, list):
        return tuple(_nested(key, values) for key in keys)
    return values[keys]


# ---- options of tasks ----------------------------------------------------------------------------


def _refuse_resources(*places: Mapping[str, Any]) -> None:
    for place in places:
        if "resources" in place:
            raise ValueError(
                'Use ray_remote_args={"resources": ...} for resources, as argument or annotation.'
            )


def _scoped_args(graph: Any, given: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """Options by key, where they differ: annotations around the call, then those of layers."""
    around = dask.get_annotations().get("ray_remote_args") or {}
    found: dict[Key, dict[str, Any]] = _Default({**given, **around})
    if isinstance(graph, HighLevelGraph):
        for layer in graph.layers.values():
            notes = layer.annotations or {}
            _refuse_resources(notes)
            if "ray_remote_args" in notes:
                for key in layer.get_output_keys():
                    found[key] = {**given, **notes["ray_remote_args"]}
    return found


class _Default(dict[Key, dict[str, Any]]):
    """A dict with one value for all keys that it does not have."""

    def __init__(self, default: dict[str, Any]) -> None:
        super().__init__()
        self._default = default

    def __missing__(self, key: Key) -> dict[str, Any]:
        return self._default


# ---- submitting ----------------------------------------------------------------------------------


def _submit_all(
    graph: Graph, keys: Any, scoped: dict[Key, dict[str, Any]], steps: RayCallback
) -> dict[Key, Any]:
    """References to the results of all nodes."""
    made: dict[Key, Any] = {}
    for key in sorted(graph, key=order(graph).__getitem__):
        node = graph[key]
        if isinstance(node, Alias):
            made[key] = made[node.target]
        elif isinstance(node, DataNode):
            value = node.value
            made[key] = value if isinstance(value, _core.ObjectRef) else _core.put(value)
        else:
            deps = {name: made[name] for name in node.dependencies}
            made[key] = _submit(node, key, deps, scoped[key], steps)
    return made


def _submit(
    node: GraphNode, key: Key, deps: dict[Key, Any], remote_args: dict[str, Any], steps: RayCallback
) -> Any:
    for before in steps.ray_presubmit:
        instead = before(node, key, deps)
        if instead is not None:
            return _core.put(instead)
    around = list(zip(steps.ray_pretask, steps.ray_posttask, strict=True))
    target: Any = _run_node.options(name=f"dask:{key!s}", **remote_args)
    ref = target.remote(node, key, list(deps), around, *deps.values())
    for after in steps.ray_postsubmit:
        after(node, key, deps, ref)
    return ref


def _run(node: Any, key: Key, names: list[Key], around: list[Any], *values: Any) -> Any:
    """One task of a graph, in its worker."""
    states = [before(key, values) if before else None for before, _ in around]
    result = _with_values(node)(dict(zip(names, values, strict=True)))
    for (_, after), state in zip(around, states, strict=True):
        if after:
            after(key, result, state)
    return result


_run_node: Any = api.remote(_run)


def _with_values(node: Any) -> Any:
    """The node with values for references, which persisted collections leave in it."""
    if isinstance(node, _core.ObjectRef):
        return _core.get(node)
    if isinstance(node, DataNode):
        value = node.value
        return DataNode(node.key, _core.get(value)) if isinstance(value, _core.ObjectRef) else node
    if isinstance(node, Task):
        node.args = tuple(_with_values(arg) for arg in node.args)
        node.kwargs = {name: _with_values(arg) for name, arg in node.kwargs.items()}
        return node
    if type(node) in (list, tuple):
        return type(node)(_with_values(item) for item in node)
    if type(node) is dict:
        return {name: _with_values(item) for name, item in node.items()}
    return node
