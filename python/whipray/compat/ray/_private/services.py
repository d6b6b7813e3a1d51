"""`ray._private.services`: addresses of this machine."""

from __future__ import annotations

from whipray._private import state


def get_node_ip_address(address: str | None = None) -> str:
    """Address of this node."""
    return state.node_ip()


def get_node_instance_id() -> str:
    """Id of the node."""
    from whipray import get_runtime_context

    return get_runtime_context().get_node_id()


def get_ray_jars_dir() -> str:
    """RuntimeError: there is no Java here."""
    raise RuntimeError("Ray's jars are not there: Whipray runs no Java.")
