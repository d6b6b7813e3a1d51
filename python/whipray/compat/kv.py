"""Ray's client of its control service: a key-value store, and questions about the one node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from whipray._private import state
from whipray.experimental import internal_kv as kv

Text = str | bytes
ALIVE = 0
"""Ray's number for the state of a node that is there."""


class GcsClient:
    """The part of Ray's client of the control service that its libraries use."""

    def __init__(self, address: str = "", **kwargs: object) -> None:
        self.address = address

    def internal_kv_get(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bytes | None:
        """The value of the key, or None."""
        return kv._internal_kv_get(key, namespace=namespace)

    def internal_kv_put(
        self,
        key: Text,
        value: Text,
        overwrite: bool = True,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """Set a value; 1 if the key is new."""
        return int(not kv._internal_kv_put(key, value, overwrite, namespace=namespace))

    def internal_kv_del(
        self,
        key: Text,
        del_by_prefix: bool = False,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """How many keys were deleted."""
        return kv._internal_kv_del(key, del_by_prefix=del_by_prefix, namespace=namespace)

    def internal_kv_exists(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bool:
        """Whether the key has a value."""
        return kv._internal_kv_exists(key, namespace=namespace)

    def internal_kv_keys(
        self, prefix: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> list[bytes]:
        """The keys that begin so."""
        return kv._internal_kv_list(prefix, namespace=namespace)

    def get_all_node_info(self, timeout: float | None = None) -> dict[Any, Any]:
        """Facts about the nodes by their ids."""
        from whipray import NodeID

        return {
            NodeID.from_hex(node["NodeID"]): SimpleNamespace(
                node_id=bytes.fromhex(node["NodeID"]),
                node_name=node["NodeName"],
                node_manager_address=node["NodeManagerAddress"],
                instance_id=node["NodeID"],
                state=ALIVE,
                labels=node["Labels"],
                resources_total=node["Resources"],
            )
            for node in state.nodes()
        }

    def get_all_resource_usage(self, timeout: float | None = None) -> Any:
        """What is free on each node, in the shape of Ray's answer."""
        batch = [
            SimpleNamespace(node_id=bytes.fromhex(node), resources_available=free)
            for node, free in state.available_resources_per_node().items()
        ]
        return SimpleNamespace(resource_usage_data=SimpleNamespace(batch=batch))

    def get_draining_nodes(self, timeout: float | None = None) -> dict[str, int]:
        """Nodes that will go, with the time: none."""
        return {}
