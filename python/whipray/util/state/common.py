"""The rows of the state API: what they have, what one may filter by, and how they are asked for."""

# ruff: noqa: RUF009 - the functions called for defaults make fields of dataclasses

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any

from whipray.job_submission import DriverInfo
from whipray.util.state.exception import RayStateApiException
from whipray.util.state.humanify import Humanify

DEFAULT_LIMIT = 100
DEFAULT_LOG_LIMIT = 1000
DEFAULT_RPC_TIMEOUT = 30
RAY_MAX_LIMIT_FROM_API_SERVER = 10_000
RAY_MAX_LIMIT_FROM_DATA_SOURCE = 10_000
"""Of Ray: here all rows are looked at."""

PredicateType = str
SupportedFilterType = str | bool | int | float
Filters = list[tuple[str, PredicateType, Any]]
Shown = Callable[[Any], Any] | None


def state_column(*, filterable: bool, detail: bool = False, format_fn: Shown = None) -> Any:
    """A column; one of `detail` is None unless details are asked for.

    Args:
        format_fn: makes what people read of a value.
    """
    metadata = {"filterable": filterable, "detail": detail, "format_fn": format_fn}
    return field(default=None, metadata=metadata)


def _filterable(shown: Shown = None) -> Any:
    return state_column(filterable=True, format_fn=shown)


def _plain(shown: Shown = None) -> Any:
    return state_column(filterable=False, format_fn=shown)


def _detail(filterable: bool = False, shown: Shown = None) -> Any:
    return state_column(filterable=filterable, detail=True, format_fn=shown)


def _time() -> Any:
    return _detail(shown=Humanify.timestamp)


def _launch() -> Any:
    return _detail(shown=lambda x: "" if x == -1 else Humanify.timestamp(x))


@dataclass
class StateSchema:
    """A row: columns are attributes and items."""

    @classmethod
    def list_columns(cls, detail: bool = True) -> list[str]:
        """Names of the columns in order; without `detail` only those that are always there."""
        return [f.name for f in fields(cls) if detail or not f.metadata["detail"]]

    @classmethod
    def columns(cls) -> set[str]:
        """Names of all columns."""
        return set(cls.list_columns())

    @classmethod
    def base_columns(cls) -> set[str]:
        """Names of the columns that are always there."""
        return set(cls.list_columns(detail=False))

    @classmethod
    def detail_columns(cls) -> set[str]:
        """Names of all columns, as with detail=True."""
        return cls.columns()

    @classmethod
    def filterable_columns(cls) -> set[str]:
        """Names of the columns that filters may name."""
        return {f.name for f in fields(cls) if f.metadata["filterable"]}

    @classmethod
    def humanify(cls, state: dict[str, Any]) -> dict[str, Any]:
        """The dict of a row, whose numbers become what people read."""
        for f in fields(cls):
            shown = f.metadata["format_fn"]
            if shown is not None and state.get(f.name) is not None:
                state[f.name] = shown(state[f.name])
        return state

    def asdict(self) -> dict[str, Any]:
        """The row as a dict."""
        return asdict(self)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """The column, or `default` if there is no such column."""
        return getattr(self, key, default)


@dataclass
class ActorState(StateSchema):
    """`state`: DEPENDENCIES_UNREADY, PENDING_CREATION, ALIVE, RESTARTING or DEAD."""

    actor_id: str = _filterable()
    class_name: str = _filterable()
    state: str = _filterable()
    job_id: str = _filterable()
    name: str | None = _filterable()
    node_id: str | None = _filterable()
    pid: int | None = _filterable()
    ray_namespace: str | None = _filterable()
    serialized_runtime_env: str | None = _detail()
    required_resources: dict[str, float] | None = _detail()
    death_cause: dict[str, Any] | None = _detail()
    is_detached: bool | None = _detail()
    placement_group_id: str | None = _detail(filterable=True)
    repr_name: str | None = _detail(filterable=True)
    num_restarts: int | None = _detail()
    num_restarts_due_to_lineage_reconstruction: int | None = _detail()
    num_restarts_due_to_node_preemption: int | None = _detail()
    call_site: str | None = _detail()
    label_selector: dict[str, str] | None = _detail()
    fallback_strategy: dict[str, Any] | None = _detail()


@dataclass
class PlacementGroupState(StateSchema):
    """`state`: PENDING, CREATED, REMOVED or RESCHEDULING."""

    placement_group_id: str = _filterable()
    name: str = _filterable()
    creator_job_id: str = _filterable()
    state: str = _filterable()
    bundles: list[dict[str, Any]] | None = _detail()
    is_detached: bool | None = _detail(filterable=True)
    stats: dict[str, Any] | None = _detail()
    topology_strategy: dict[str, str] | None = _detail()
    topology_assignments: dict[str, str] | None = _detail()


@dataclass
class NodeState(StateSchema):
    """`state`: ALIVE.  Amounts of memory are in bytes."""

    node_id: str = _filterable()
    node_ip: str = _filterable()
    is_head_node: bool = _filterable()
    state: str = _filterable()
    state_message: str | None = _plain()
    node_name: str = _filterable()
    resources_total: dict[str, float] = _plain(Humanify.node_resources)
    labels: dict[str, str] = _plain()
    start_time_ms: int | None = _time()
    end_time_ms: int | None = _time()


@dataclass
class JobState(StateSchema):
    """A driver, of `type` DRIVER and `status` RUNNING, or what was submitted: SUBMISSION."""

    type: str = _filterable()
    job_id: str | None = _filterable()
    submission_id: str | None = _filterable()
    driver_info: DriverInfo | None = _plain()
    status: str = _filterable()
    entrypoint: str = _plain()
    message: str | None = _plain()
    error_type: str | None = _plain()
    start_time: int | None = _detail()
    end_time: int | None = _detail()
    metadata: dict[str, str] | None = _detail()
    runtime_env: dict[str, Any] | None = _detail()
    driver_agent_http_address: str | None = _detail()
    driver_node_id: str | None = _detail()
    driver_exit_code: int | None = _detail()


@dataclass
class WorkerState(StateSchema):
    """`worker_type`: WORKER or DRIVER."""

    worker_id: str = _filterable()
    is_alive: bool = _filterable()
    worker_type: str = _filterable()
    exit_type: str | None = _filterable()
    node_id: str = _filterable()
    ip: str = _filterable()
    pid: int = _filterable()
    exit_detail: str | None = _detail()
    worker_launch_time_ms: int | None = _launch()
    worker_launched_time_ms: int | None = _launch()
    start_time_ms: int | None = _time()
    end_time_ms: int | None = _time()
    debugger_port: int | None = _detail(filterable=True)
    num_paused_threads: int | None = _detail(filterable=True)


@dataclass
class ClusterEventState(StateSchema):
    """An event; none are recorded here."""

    severity: str = _filterable()
    time: str = _plain()
    source_type: str = _filterable()
    message: str = _plain()
    event_id: str = _filterable()
    custom_fields: dict[str, Any] | None = _detail()


@dataclass
class TaskState(StateSchema):
    """`type`: NORMAL_TASK, ACTOR_CREATION_TASK or ACTOR_TASK.

    `state`: PENDING_ARGS_AVAIL, PENDING_NODE_ASSIGNMENT (waits for a worker), SUBMITTED_TO_WORKER
    (waits in an actor's mailbox), RUNNING, RUNNING_IN_RAY_GET, FINISHED or FAILED.
    """

    task_id: str = _filterable()
    attempt_number: int = _filterable()
    name: str = _filterable()
    state: str = _filterable()
    job_id: str = _filterable()
    actor_id: str | None = _filterable()
    type: str = _filterable()
    func_or_class_name: str = _filterable()
    parent_task_id: str | None = _filterable()
    node_id: str | None = _filterable()
    worker_id: str | None = _filterable()
    worker_pid: int | None = _filterable()
    error_type: str | None = _filterable()
    language: str | None = _detail(filterable=True)
    required_resources: dict[str, float] | None = _detail()
    runtime_env_info: dict[str, Any] | None = _detail()
    placement_group_id: str | None = _detail(filterable=True)
    events: list[dict[str, Any]] | None = _detail(shown=Humanify.events)
    profiling_data: dict[str, Any] | None = _detail()
    creation_time_ms: int | None = _time()
    start_time_ms: int | None = _time()
    end_time_ms: int | None = _time()
    task_log_info: dict[str, Any] | None = _detail()
    error_message: str | None = _detail()
    is_debugger_paused: bool | None = _detail(filterable=True)
    call_site: str | None = _detail()
    label_selector: dict[str, str] | None = _detail()
    fallback_strategy: dict[str, Any] | None = _detail()


@dataclass
class ObjectState(StateSchema):
    """`object_size`: bytes, -1 while the value is not there."""

    object_id: str = _filterable()
    object_size: int = _filterable(Humanify.memory)
    task_status: str = _filterable()
    attempt_number: int = _filterable()
    reference_type: str = _filterable()
    call_site: str = _filterable()
    type: str = _filterable()
    pid: int = _filterable()
    ip: str = _filterable()


@dataclass
class RuntimeEnvState(StateSchema):
    """An environment; they are not listed here."""

    runtime_env: dict[str, Any] = _filterable()
    success: bool = _filterable()
    creation_time_ms: float | None = _plain(Humanify.duration)
    node_id: str = _filterable()
    ref_cnt: int | None = _detail()
    error: str | None = _detail(filterable=True)


# ---- asking --------------------------------------------------------------------------------------


class StateResource(Enum):
    """Kinds of rows."""

    ACTORS = "actors"
    JOBS = "jobs"
    PLACEMENT_GROUPS = "placement_groups"
    NODES = "nodes"
    WORKERS = "workers"
    TASKS = "tasks"
    OBJECTS = "objects"
    RUNTIME_ENVS = "runtime_envs"
    CLUSTER_EVENTS = "cluster_events"


class SummaryResource(Enum):
    """Kinds of rows that are counted."""

    ACTORS = "actors"
    TASKS = "tasks"
    OBJECTS = "objects"


_SCHEMAS: dict[StateResource, type[StateSchema]] = {
    StateResource.ACTORS: ActorState,
    StateResource.JOBS: JobState,
    StateResource.PLACEMENT_GROUPS: PlacementGroupState,
    StateResource.NODES: NodeState,
    StateResource.WORKERS: WorkerState,
    StateResource.TASKS: TaskState,
    StateResource.OBJECTS: ObjectState,
    StateResource.RUNTIME_ENVS: RuntimeEnvState,
    StateResource.CLUSTER_EVENTS: ClusterEventState,
}
AVAILABLE_STATES = [kind for kind in _SCHEMAS.values() if kind is not ClusterEventState]


def resource_to_schema(resource: StateResource) -> type[StateSchema]:
    """The rows of that kind."""
    return _SCHEMAS[resource]


def dict_to_state(d: dict[str, Any], state_resource: StateResource) -> StateSchema:
    """The row with these columns; RayStateApiException when it has others."""
    try:
        return _SCHEMAS[state_resource](**d)
    except TypeError as error:
        raise RayStateApiException(f"Failed to convert {d} to StateSchema: {error}") from error


def filter_fields(
    data: dict[str, Any], state_dataclass: type[StateSchema], detail: bool
) -> dict[str, Any]:
    """The columns of that kind alone; those that are not there are None."""
    return {name: data.get(name) for name in state_dataclass.list_columns(detail)}


@dataclass
class GetApiOptions:
    """Seconds, of which a request may take a part; here none is sent."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    server_timeout_multiplier: float = 0.8

    def __post_init__(self) -> None:
        self.timeout = max(1, int(self.timeout * self.server_timeout_multiplier))


@dataclass
class ListApiOptions:
    """At most `limit` rows for which all filters hold: (column, "=" or "!=", value).

    `exclude_driver`: what a driver does is no task here anyway.
    """

    limit: int = DEFAULT_LIMIT
    timeout: int = DEFAULT_RPC_TIMEOUT
    detail: bool = False
    filters: Filters | None = field(default_factory=list)
    exclude_driver: bool = True
    server_timeout_multiplier: float = 0.8

    def __post_init__(self) -> None:
        self.timeout = max(1, int(self.timeout * self.server_timeout_multiplier))
        self.filters = self.filters or []
        for _, predicate, _ in self.filters:
            check_predicate(predicate)

    def has_conflicting_filters(self) -> bool:
        """Whether two filters ask for different values of a column: a warning, and no rows."""
        return conflicting(self.filters)


def conflicting(filters: Filters | None) -> bool:
    """Whether two filters ask for different values of a column, which is warned of."""
    wanted: dict[str, Any] = {}
    for column, predicate, value in filters or []:
        if predicate == "=" and wanted.setdefault(column, value) != value:
            warnings.warn(
                f"There are multiple '=' filters with the same key '{column}' but different "
                f"values'{wanted[column]}' & '{value}'. Empty result set will be returned",
                UserWarning,
                stacklevel=2,
            )
            return True
    return False


@dataclass
class SummaryApiOptions:
    """`summary_by`: summaries are by name, class or place of creation, whatever it says."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    filters: Filters | None = field(default_factory=list)
    summary_by: str | None = None


def check_predicate(predicate: Any) -> None:
    """ValueError for what is no comparison."""
    if predicate not in ("=", "!="):
        raise ValueError(
            f"Unsupported filter predicate {predicate} is given. Available predicates: =, !=."
        )
