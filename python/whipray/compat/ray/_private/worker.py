"""`ray._private.worker`: the connection of this process, as Ray's private interface shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import whipray
from whipray import _core
from whipray._private import worker as _worker
from whipray._private.context import RayContext
from whipray.compat.facade import show

show(__name__, "whipray")

logger = logging.getLogger("ray")
SPILL_WORKER_MODE = 2
RESTORE_WORKER_MODE = 3
BaseContext = RayContext
blocking_get_inside_async_warned = False
blocking_wait_inside_async_warned = False
_post_init_hooks: list[Callable[[], Any]] = []
"""Called by global_worker.check_connected() and init(), as far as they came by this module."""


class Node:
    """The node and the session's folder."""

    head = True
    max_bytes = 512 * 1024 * 1024
    backup_count = 5
    """Ray's sizes for logs that its libraries rotate themselves."""

    @property
    def address(self) -> str:
        """Where other drivers can join."""
        return str(whipray.get_runtime_context().gcs_address)

    gcs_address = address

    @property
    def node_ip_address(self) -> str:
        """Address of this node."""
        from whipray._private import state

        return state.node_ip()

    @property
    def unique_id(self) -> str:
        """Id of the node, in hex."""
        return whipray.get_runtime_context().get_node_id()

    node_id = unique_id

    @property
    def cluster_id(self) -> Any:
        """Id of the session."""
        from whipray import ClusterID

        return ClusterID.from_hex(self.unique_id)

    @property
    def session_name(self) -> str:
        """Name of the session's folder."""
        return whipray.get_runtime_context().get_session_name()

    def get_session_dir_path(self) -> str:
        """The session's folder."""
        return str(_core.info().get("session_dir", ""))

    def get_temp_dir_path(self) -> str:
        """The folder of all sessions."""
        return whipray.get_runtime_context().get_temp_dir()

    def get_logs_dir_path(self) -> str:
        """The folder of the session's logs."""
        return self.get_session_dir_path() + "/logs"

    def is_head(self) -> bool:
        """True: there is no other node."""
        return True


_node = Node()


class CoreWorker:
    """The questions to Ray's compiled worker that its libraries ask."""

    def get_current_task_id(self) -> Any:
        """Id of the running task; nil in a driver."""
        from whipray import TaskID

        return whipray.get_runtime_context().task_id or TaskID.nil()

    def get_actor_id(self) -> Any:
        """Id of the actor that this process is; nil elsewhere."""
        from whipray import ActorID

        return whipray.get_runtime_context().actor_id or ActorID.nil()

    def get_current_job_id(self) -> Any:
        """Id of the job."""
        return whipray.get_runtime_context().job_id

    def get_current_node_id(self) -> Any:
        """Id of the node."""
        return whipray.get_runtime_context().node_id

    def get_worker_id(self) -> Any:
        """Id of this process."""
        return whipray.WorkerID.from_hex(whipray.get_runtime_context().get_worker_id())

    def current_actor_is_asyncio(self) -> bool:
        """True inside an async actor."""
        from whipray._private import serving

        return serving.running.actor is not None and serving.running.actor.is_async

    def get_local_memory_store_bytes_used(self) -> int:
        """0: small values too lie in the shared store, not in the driver."""
        return 0

    def get_disable_job_level_lineage_reconstruction(self) -> bool:
        """False: lost values are made again."""
        return False

    def add_object_out_of_scope_callback(
        self, object_ref: Any, callback: Callable[[bytes], Any]
    ) -> bool:
        """Call `callback(id)` once this reference is gone from the process; True."""
        import weakref

        weakref.finalize(object_ref, callback, object_ref.binary()).atexit = False
        return True

    def get_plasma_usage(self) -> dict[str, int]:
        """Counters of the store."""
        return _core.stats()


class SerializationContext:
    """Registration of serializers and the size that a value takes."""

    def _register_cloudpickle_serializer(
        self, cls: type, custom_serializer: Callable[..., Any], custom_deserializer: Any
    ) -> None:
        from whipray.util import register_serializer

        register_serializer(cls, serializer=custom_serializer, deserializer=custom_deserializer)

    def _unregister_cloudpickle_reducer(self, cls: type) -> None:
        from whipray.util import deregister_serializer

        deregister_serializer(cls)

    def _register_cloudpickle_reducer(self, cls: type, reducer: Callable[..., Any]) -> None:
        from whipray._private import serialization

        serialization.register_reducer(cls, reducer)

    def serialize(self, value: Any) -> Serialized:
        """What `put` would store."""
        from whipray._private import serialization

        buffers: list[Any] = []
        payload = serialization.dumps(value, buffers)
        return Serialized(len(payload) + sum(buffer.raw().nbytes for buffer in buffers))


class Serialized:
    """The size of a value in bytes."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes


class Worker:
    """`global_worker`; one object for the life of the process."""

    def __init__(self) -> None:
        self._load_code_from_local = False
        self._serialization = SerializationContext()
        self._core_worker = CoreWorker()

    @property
    def connected(self) -> bool:
        """True while a session is open."""
        return _core.attached()

    is_connected = connected

    @property
    def mode(self) -> int | None:
        """SCRIPT_MODE in a driver, WORKER_MODE in a worker, None without a session."""
        return _worker.state.mode

    @property
    def node(self) -> Node | None:
        """The node, while a session is open."""
        return _node if self.connected else None

    @property
    def core_worker(self) -> CoreWorker:
        """AttributeError without a session, as in Ray."""
        if not self.connected:
            raise AttributeError("no session is open", name="core_worker")
        return self._core_worker

    @property
    def gcs_client(self) -> Any:
        """The session's key-value store."""
        from whipray.compat.kv import GcsClient

        return GcsClient(_node.address)

    @property
    def actor_id(self) -> Any:
        """Id of the actor that this process is; nil elsewhere."""
        from whipray import ActorID

        return self._core_worker.get_actor_id() if self.connected else ActorID.nil()

    @property
    def current_job_id(self) -> Any:
        """Id of the job; nil without a session."""
        from whipray import JobID

        return self._core_worker.get_current_job_id() if self.connected else JobID.nil()

    @property
    def current_node_id(self) -> Any:
        """Id of the node."""
        return self._core_worker.get_current_node_id()

    @property
    def current_task_id(self) -> Any:
        """Id of the running task; nil in a driver."""
        return self._core_worker.get_current_task_id()

    @property
    def worker_id(self) -> bytes:
        """Id of this process."""
        found: bytes = self._core_worker.get_worker_id().binary()
        return found

    @property
    def namespace(self) -> str:
        """Namespace of the job."""
        return _worker.state.namespace

    @property
    def node_ip_address(self) -> str:
        """Address of this node."""
        return _node.node_ip_address

    @property
    def runtime_env(self) -> str:
        """The runtime environment as JSON."""
        return whipray.get_runtime_context().get_runtime_env_string()

    def check_connected(self) -> None:
        """An error when no session is open."""
        _worker.require_attached("check_connected")

    def set_load_code_from_local(self, value: bool) -> None:
        """Kept and without meaning: code is imported where it can be, and pickled elsewhere."""
        self._load_code_from_local = value

    @property
    def load_code_from_local(self) -> bool:
        """What was set."""
        return self._load_code_from_local

    def get_serialization_context(self) -> SerializationContext:
        """Registration of serializers."""
        return self._serialization


global_worker = Worker()


def get_dashboard_url() -> str:
    """The empty string: there is no dashboard."""
    return ""


def get_resource_ids() -> dict[str, list[tuple[int, float]]]:
    """Resources of the running task with their ids."""
    held = whipray.get_runtime_context().get_assigned_resources()
    return {name: [(0, amount)] for name, amount in held.items()}


def _mode(worker: Worker = global_worker) -> int | None:
    return worker.mode


def __getattr__(name: str) -> Any:
    if name == "_global_node":
        return global_worker.node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
