"""`ray._private.state`: what the cluster has."""

from __future__ import annotations

import importlib
from typing import Any

from whipray import _core
from whipray._private import state as _state
from whipray.compat.facade import show

show(__name__, "whipray._private.state")


def total_resources_per_node() -> dict[str, dict[str, float]]:
    """All resources by node id."""
    return {node["NodeID"]: node["Resources"] for node in _state.nodes()}


def node_ids() -> list[str]:
    """Ids of the nodes."""
    return [node["NodeID"] for node in _state.nodes()]


def current_node_id() -> str:
    """The resource that stands for this node."""
    return f"node:{_state.node_ip()}"


def actors(
    actor_id: str | None = None, job_id: Any = None, actor_state_name: str | None = None
) -> dict[str, Any]:
    """Facts about actors by id; about one of them if actor_id is given."""
    listing = importlib.import_module("whipray.util.state")
    rows = listing.list_actors(detail=True, limit=10_000)
    found = {row["actor_id"]: _actor(row) for row in rows}
    if actor_id is not None:
        return dict(found.get(actor_id, {}))
    return {
        key: row
        for key, row in found.items()
        if (job_id is None or row["JobID"] == job_id.hex())
        and (actor_state_name is None or row["State"] == actor_state_name)
    }


def _actor(row: Any) -> dict[str, Any]:
    return {
        "ActorID": row["actor_id"],
        "ActorClassName": row["class_name"],
        "IsDetached": bool(row["is_detached"]),
        "Name": row["name"],
        "JobID": row["job_id"],
        "Pid": row["pid"],
        "State": row["state"],
        "NumRestarts": int(row["num_restarts"] or 0),
        "Address": {"NodeID": row["node_id"], "IPAddress": _state.node_ip(), "Port": 0},
    }


class GlobalState:
    """The same questions as methods, and some that only Ray's libraries ask."""

    node_table = staticmethod(_state.nodes)
    cluster_resources = staticmethod(_state.cluster_resources)
    available_resources = staticmethod(_state.available_resources)
    _available_resources_per_node = staticmethod(_state.available_resources_per_node)
    available_resources_per_node = staticmethod(_state.available_resources_per_node)
    total_resources_per_node = staticmethod(total_resources_per_node)
    actor_table = staticmethod(actors)

    def get_cluster_config(self) -> None:
        """None: nothing says how the cluster may grow, since it can not."""
        return None

    def get_max_resources_from_cluster_config(self) -> None:
        """None: see get_cluster_config."""
        return None

    def get_draining_nodes(self) -> dict[str, int]:
        """Nodes that will go, with the time: none."""
        return {}

    def placement_group_table(self, placement_group_id: Any = None) -> dict[str, Any]:
        """Facts about placement groups by id."""
        from whipray.util import placement_group_table

        found: dict[str, Any] = placement_group_table()
        return found if placement_group_id is None else found[placement_group_id.hex()]

    def get_system_config(self) -> dict[str, Any]:
        """{}: nothing of Ray's settings has a meaning here."""
        return {}


state = GlobalState()


def jobs() -> list[dict[str, Any]]:
    """The jobs of the session."""
    running = {row["job"] for row in _core.procs() if row["job"]}
    return [{"JobID": f"{number:08x}", "IsDead": False} for number in sorted(running)]
