"""`Cluster`: a session as tests of Ray start it, of one node, apart from any driver.

The session belongs to a child of this process and ends with it, however this process ends.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from typing import Any, NoReturn

from whipray import _core
from whipray._private import child

__all__ = ["AutoscalingCluster", "Cluster", "cluster_not_supported"]

cluster_not_supported = False
"""What tests of Ray ask before they start a cluster; one node is supported."""

DEFAULTS = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 150 << 20}
MEANT = ("num_cpus", "num_gpus", "resources", "object_store_memory", "labels")
"""Arguments of a node that mean something here; others are accepted."""


class Node:
    """The one node of a cluster."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        chosen = {name: arguments[name] for name in MEANT if arguments.get(name) is not None}
        self._process = subprocess.Popen(
            child.command(__name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({**DEFAULTS, **chosen}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "it ended at once"}')
        if "error" in answer:
            self.end()
            raise RuntimeError(f"can not start a session: {answer['error']}")
        self.session_dir: str = answer["session_dir"]
        self.address = self.gcs_address = f"unix:{self.session_dir}/sock"

    def any_processes_alive(self) -> bool:
        """Whether the session still runs."""
        return self._process.poll() is None

    remaining_processes_alive = any_processes_alive

    def end(self) -> None:
        """End the session, and wait for that."""
        self._process.communicate()


class Cluster:
    """A session of one node.  `address` is for init(); `shutdown()` ends it.

    ValueError, TypeError for resources that make no sense.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: dict[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        self.head_node: Node | None = None
        self.worker_nodes: set[Node] = set()
        self.connected = False
        if connect and not initialize_head:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> str | None:
        """What init() takes; None without a node."""
        return None if self.head_node is None else self.head_node.address

    gcs_address = address

    def connect(self, namespace: str | None = None) -> None:
        """`init(address)`."""
        from whipray._private import worker

        if self.address is None or self.connected:
            raise RuntimeError("the cluster has no node, or this driver is connected already")
        worker.init(self.address, namespace=namespace, ignore_reinit_error=True)
        self.connected = True

    def add_node(self, wait: bool = True, **node_args: Any) -> Node:
        """Start the node; NotImplementedError for a second one."""
        if self.head_node is not None:
            raise NotImplementedError(
                "Cluster.add_node: a session has one node (see docs/moving-from-ray.md); give the "
                "first one more resources."
            )
        _check(node_args)
        self.head_node = Node(node_args)
        atexit.register(self._at_exit)
        return self.head_node

    def remove_node(self, node: Node, allow_graceful: bool = True) -> None:
        """End the node, and with it the session."""
        if node is not self.head_node:
            raise ValueError("this is no node of the cluster")
        self.shutdown()

    def list_all_nodes(self) -> list[Node]:
        """The node, if there is one."""
        return [] if self.head_node is None else [self.head_node]

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Nothing to wait for: the node runs when `add_node` returns."""

    def remaining_processes_alive(self) -> bool:
        """Whether the session runs that should."""
        return all(node.any_processes_alive() for node in self.list_all_nodes())

    def shutdown(self) -> None:
        """End the session; drivers that are connected are told so."""
        node, self.head_node = self.head_node, None
        self.connected = False
        atexit.unregister(self._at_exit)
        if node is not None:
            node.end()

    def _at_exit(self) -> None:
        from whipray._private import worker

        worker.shutdown()
        self.shutdown()


def _check(arguments: dict[str, Any]) -> None:
    """The errors of `init` for the same amounts, here in the caller."""
    from whipray._private import labels, machine

    wanted = {**DEFAULTS, **arguments}
    amounts = (wanted.get(name) for name in MEANT[:4])
    machine.config(*amounts)
    labels.checked(wanted.get("labels"))


class AutoscalingCluster:
    """NotImplementedError: a session has one node."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("AutoscalingCluster: a session has one node, always.")


# ---- the child -----------------------------------------------------------------------------------


def main() -> None:
    """Start the session that standard input describes; end it when standard input ends."""
    from whipray._private import labels, machine

    wanted = json.loads(sys.stdin.readline())
    try:
        config = machine.config(*(wanted.get(name) for name in MEANT[:4]))
        config.update(eager=False, log_to_driver=False)
        info = _core.start(machine.daemon_path(), _core.pack(config))
        labels.publish(labels.checked(wanted.get("labels")))
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    print(json.dumps({"session_dir": info["session_dir"]}), flush=True)
    sys.stdin.read()
    _core.detach()
