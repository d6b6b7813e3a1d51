"""What the cluster has: nodes and resources.  None of these questions starts a session."""

from __future__ import annotations

import os
from typing import Any

from whipray import _core
from whipray._private import labels, machine, options, worker

TINY = 1e-9
INLINE = 100 << 10
"""Values below this do not count as use of the object store: Ray does not keep them there."""


def _facts(what: str) -> dict[str, Any]:
    worker.require_attached(what)
    return _core.info()


def node_ip() -> str:
    """Address of this node."""
    return machine.NODE_IP


def _rows() -> list[tuple[str, float, float]]:
    """(name, total, available) of every resource, with those that mark the node.

    Not those that every node has without being told; Ray keeps them to itself as well.
    """
    shown = (row for row in _core.resources() if not row[0].startswith(options.IMPLICIT_RESOURCE))
    rows = [_with_use(*row) for row in shown if row[1] > TINY]
    known = {row[0] for row in rows}
    for name in (f"node:{node_ip()}", "node:__internal_head__"):
        if name not in known:
            rows.append((name, 1.0, 1.0))
    rows += _group_rows()
    return rows


def _with_use(name: str, total: float, free: float) -> tuple[str, float, float]:
    """The row; what values take of the object store is not free."""
    if name == "object_store_memory":
        free = max(free - _core.stored_bytes(INLINE), 0.0)
    return name, total, free


def _group_rows() -> list[tuple[str, float, float]]:
    """The resources that placement groups have reserved, under the names that work in them uses."""
    if not _core.groups(True):
        return []
    from whipray.util.placement_group import resource_rows

    return list(resource_rows())


def cluster_resources() -> dict[str, float]:
    """All resources of the cluster by name; bytes for memory."""
    _facts("cluster_resources")
    return {name: float(total) for name, total, _ in _rows()}


def available_resources() -> dict[str, float]:
    """What is free now; a resource that is used up is absent."""
    _facts("available_resources")
    return {name: float(free) for name, _, free in _rows() if free > TINY}


def nodes() -> list[dict[str, Any]]:
    """The nodes of the cluster, each as a dict of facts."""
    info = _facts("nodes")
    from whipray._private.ids import node_id_of

    node_id = node_id_of(str(info.get("session", ""))).hex()
    return [
        {
            "NodeID": node_id,
            "Alive": True,
            "NodeManagerAddress": node_ip(),
            "NodeManagerHostname": os.uname().nodename,
            "NodeManagerPort": 0,
            "ObjectManagerPort": 0,
            "ObjectStoreSocketName": "",
            "RayletSocketName": "",
            "MetricsExportPort": -1,
            "MetricsAgentPort": -1,
            "DashboardAgentListenPort": -1,
            "RuntimeEnvAgentPort": 0,
            "NodeName": node_ip(),
            "DeathReason": 0,
            "DeathReasonMessage": "",
            "alive": True,
            "Resources": cluster_resources(),
            "Labels": labels.of_node(),
        }
    ]


def available_resources_per_node() -> dict[str, dict[str, float]]:
    """Free resources by node id."""
    return {node["NodeID"]: available_resources() for node in nodes()}
