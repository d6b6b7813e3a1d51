"""The functions of the state API as methods of an object, for programs that keep one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whipray.util.state import queries
from whipray.util.state.common import (
    GetApiOptions,
    ListApiOptions,
    StateResource,
    SummaryApiOptions,
    SummaryResource,
)

_LISTS: dict[StateResource, Callable[..., Any]] = {
    StateResource.ACTORS: queries.list_actors,
    StateResource.JOBS: queries.list_jobs,
    StateResource.PLACEMENT_GROUPS: queries.list_placement_groups,
    StateResource.NODES: queries.list_nodes,
    StateResource.WORKERS: queries.list_workers,
    StateResource.TASKS: queries.list_tasks,
    StateResource.OBJECTS: queries.list_objects,
    StateResource.RUNTIME_ENVS: queries.list_runtime_envs,
    StateResource.CLUSTER_EVENTS: queries.list_cluster_events,
}
_GETS: dict[StateResource, Callable[..., Any]] = {
    StateResource.ACTORS: queries.get_actor,
    StateResource.JOBS: queries.get_job,
    StateResource.PLACEMENT_GROUPS: queries.get_placement_group,
    StateResource.NODES: queries.get_node,
    StateResource.WORKERS: queries.get_worker,
    StateResource.TASKS: queries.get_task,
    StateResource.OBJECTS: queries.get_objects,
}
_SUMMARIES: dict[SummaryResource, Callable[..., dict[str, Any]]] = {
    SummaryResource.ACTORS: queries.summarize_actors,
    SummaryResource.TASKS: queries.summarize_tasks,
    SummaryResource.OBJECTS: queries.summarize_objects,
}


class StateApiClient:
    """Rows of this process's session; nothing is sent, so an address and headers are not used.

    Args:
        address, cookies, headers: for programs that give them.
    """

    def __init__(
        self,
        address: str | None = None,
        cookies: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
    ) -> None:
        self._address = address

    def get(
        self,
        resource: StateResource,
        id: str,
        options: GetApiOptions | None = None,
        _explain: bool = False,
    ) -> Any:
        """The row of that id, or None; of an object a list.

        Raises:
            ValueError: there are no ids of that kind.
        """
        if resource not in _GETS:
            raise ValueError(f"Can't get {resource.name} by id.")
        return _GETS[resource](id) or None

    def list(
        self,
        resource: StateResource,
        options: ListApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[Any]:
        """Rows of that kind.

        Raises:
            ValueError: a filter names a column or a comparison that there is not.
        """
        options = options or ListApiOptions()
        rows: list[Any] = _LISTS[resource](
            filters=options.filters, limit=options.limit, detail=options.detail
        )
        return rows

    def summary(
        self,
        resource: SummaryResource,
        *,
        options: SummaryApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]:
        """Counts of that kind, as those of `summarize_tasks()`."""
        return _SUMMARIES[resource]()
