"""Listings, single rows and summaries of what a session has.

All of it is read from shared memory when it is asked for.  `address`, `timeout`,
`raise_on_missing_output` and `_explain` are there for programs that give them: no server is asked,
and nothing can be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar, cast

from whipray import _core
from whipray._private import worker
from whipray.util.state import common, rows
from whipray.util.state.common import (
    DEFAULT_LIMIT,
    DEFAULT_RPC_TIMEOUT,
    ActorState,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    StateSchema,
    TaskState,
    WorkerState,
)
from whipray.util.state.filters import checked, checked_limit

S = TypeVar("S", bound=StateSchema)
Filters = common.Filters | None

_SOURCES: dict[type[StateSchema], Callable[[], Iterator[rows.Row]]] = {
    ActorState: rows.actors,
    JobState: rows.jobs,
    NodeState: rows.nodes,
    ObjectState: rows.objects,
    PlacementGroupState: rows.placement_groups,
    TaskState: rows.tasks,
    WorkerState: rows.workers,
}


def kind_of(name: str) -> type[StateSchema]:
    """The rows that commands call so: `actors`, `placement-groups`."""
    for kind in _SOURCES:
        if name == _NAMES[kind]:
            return kind
    raise NotImplementedError(f"{name} are not recorded by this engine")


_NAMES: dict[type[StateSchema], str] = {
    ActorState: "actors",
    JobState: "jobs",
    NodeState: "nodes",
    ObjectState: "objects",
    PlacementGroupState: "placement-groups",
    TaskState: "tasks",
    WorkerState: "workers",
}


def _list(kind: type[S], filters: Filters, limit: int, detail: bool) -> list[S]:
    return found(kind, filters, checked_limit(limit), detail)


def found(kind: type[S], filters: Filters, limit: int, detail: bool) -> list[S]:
    """The first rows of that kind for which all filters hold."""
    worker.require_attached(f"the state of {kind.__name__}")
    matches = checked(kind, filters)
    if common.conflicting(filters):
        return []
    columns = kind.list_columns(detail)
    rows_found: list[S] = []
    for row in _SOURCES[kind]():
        if len(rows_found) >= limit:
            break
        if all(match(row) for match in matches):
            rows_found.append(kind(**{name: row.get(name) for name in columns}))
    return rows_found


def _get(kind: type[S], column: str, id: str) -> S | None:
    rows_found = _list(kind, [(column, "=", id)], 1, detail=True)
    return rows_found[0] if rows_found else None


# ---- listings ------------------------------------------------------------------------------------


def list_actors(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ActorState]:
    """Actors; a dead one is listed while somebody has a handle to it."""
    return _list(ActorState, filters, limit, detail)


def list_placement_groups(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[PlacementGroupState]:
    """Placement groups."""
    return _list(PlacementGroupState, filters, limit, detail)


def list_nodes(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[NodeState]:
    """Nodes: one."""
    return _list(NodeState, filters, limit, detail)


def list_jobs(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[JobState]:
    """Jobs: the drivers that are in the session now, and what was submitted to it."""
    return _list(JobState, filters, limit, detail)


def list_workers(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[WorkerState]:
    """Drivers and workers."""
    return _list(WorkerState, filters, limit, detail)


def list_tasks(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[TaskState]:
    """Tasks and calls; a finished one is listed while somebody refers to its result."""
    return _list(TaskState, filters, limit, detail)


def list_objects(
    address: str | None = None,
    filters: Filters = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ObjectState]:
    """Objects that somebody refers to."""
    return _list(ObjectState, filters, limit, detail)


# ---- single rows ---------------------------------------------------------------------------------


def get_actor(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> ActorState | None:
    """The actor of that id, or None."""
    return _get(ActorState, "actor_id", id)


def get_job(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> JobState | None:
    """The job of that id, which may be that of its submission, or None."""
    return _get(JobState, "job_id", id) or _get(JobState, "submission_id", id)


def get_placement_group(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> PlacementGroupState | None:
    """The placement group of that id, or None."""
    return _get(PlacementGroupState, "placement_group_id", id)


def get_node(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> NodeState | None:
    """The node of that id, or None."""
    return _get(NodeState, "node_id", id)


def get_worker(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> WorkerState | None:
    """The process of that id, or None."""
    return _get(WorkerState, "worker_id", id)


def get_task(
    id: str | _core.ObjectRef[Any],
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> TaskState | None:
    """The task of that id, or the one that makes that reference; or None."""
    text = id if isinstance(id, str) else id.task_id().hex()
    return _get(TaskState, "task_id", text)


def get_objects(
    id: str,
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    _explain: bool = False,
) -> list[ObjectState] | None:
    """The object of that id, in a list, or None; `id` is a text, not a reference."""
    return _list(ObjectState, [("object_id", "=", str(id))], 1, detail=True) or None


# ---- summaries -----------------------------------------------------------------------------------


def summarize_tasks(
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many tasks of each name are in which state."""
    worker.require_attached("summarize_tasks")
    kinds: Counter[str] = Counter()
    groups: dict[str, Any] = {}
    for row in rows.tasks():
        kinds[row["type"]] += 1
        group = groups.setdefault(
            row["name"],
            {"func_or_class_name": row["name"], "type": row["type"], "state_counts": Counter()},
        )
        group["state_counts"][row["state"]] += 1
    return _cluster(
        groups,
        total_tasks=kinds["NORMAL_TASK"],
        total_actor_tasks=kinds["ACTOR_TASK"],
        total_actor_scheduled=kinds["ACTOR_CREATION_TASK"],
        summary_by="func_name",
    )


def summarize_actors(
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many actors of each class are in which state."""
    worker.require_attached("summarize_actors")
    groups: dict[str, Any] = {}
    for row in rows.actors():
        name = row["class_name"]
        group = groups.setdefault(name, {"class_name": name, "state_counts": Counter()})
        group["state_counts"][row["state"]] += 1
    total = sum(group["state_counts"].total() for group in groups.values())
    return _cluster(groups, total_actors=total, summary_by="class")


def summarize_objects(
    address: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many objects there are and how large they are; places of creation are not recorded."""
    worker.require_attached("summarize_objects")
    found = list(rows.objects())
    size = sum(max(0, row["object_size"]) for row in found) / (1 << 20)
    group = {
        "total_objects": len(found),
        "total_size_mb": size,
        "total_num_workers": len({row["pid"] for row in found}),
        "total_num_nodes": len({row["ip"] for row in found}),
        "task_state_counts": Counter(row["task_status"] for row in found),
        "task_attempt_number_counts": Counter(str(row["attempt_number"]) for row in found),
        "ref_type_counts": Counter(row["reference_type"] for row in found),
    }
    return _cluster(
        {"disabled": group} if found else {},
        total_objects=len(found),
        total_size_mb=size,
        callsite_enabled=False,
        summary_by="callsite",
    )


def _cluster(groups: dict[str, Any], **totals: Any) -> dict[str, Any]:
    return {"cluster": cast("dict[str, Any]", _plain({"summary": groups, **totals}))}


def _plain(value: Any) -> Any:
    """Counters as dicts."""
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


# ---- what is not recorded ------------------------------------------------------------------------


def _not_there(what: str) -> NoReturn:
    raise NotImplementedError(f"{what} are not recorded by this engine")


def list_runtime_envs(*args: Any, **kwargs: Any) -> NoReturn:
    """Not available."""
    _not_there("runtime environments")


def list_cluster_events(*args: Any, **kwargs: Any) -> NoReturn:
    """Not available."""
    _not_there("events of the cluster")
