"""What a program can ask about where it runs: `get_runtime_context()`."""

from __future__ import annotations

import os
from typing import Any

from whipray import _core
from whipray._private import shapes, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whipray.runtime_env import RuntimeEnv


_NO_ACTOR = "This method is only available in an actor."
_ACCELERATORS = ("GPU", "TPU", "neuron_cores", "HPU", "NPU", "RBLN", "MBLT", "TTNPU", "FURIOSA")
"""What Ray calls the kinds it knows."""


class RuntimeContext:
    """Facts about the process, the task and the actor that ask.

    Ids are hex strings.  What does not exist here is None: a driver has no task, a task no actor.
    """

    @property
    def worker(self) -> Any:
        """The connection's state; for programs written against Ray's private API."""
        return worker.state

    # -- ids --

    def get_job_id(self) -> str:
        """Id of the job."""
        from whipray._private.ids import JobID

        return JobID.from_int(int(_core.info().get("job", 0))).hex()

    def get_node_id(self) -> str:
        """Id of the node this process runs on."""
        from whipray._private.ids import node_id_of

        return node_id_of(str(_core.info().get("session", ""))).hex()

    def get_worker_id(self) -> str:
        """Id of this process."""
        from whipray._private.ids import worker_id_of

        info = _core.info()
        return worker_id_of(str(info.get("session", "")), info["slot"], info["gen"]).hex()

    def get_session_name(self) -> str:
        """Name of the session's directory."""
        return str(_core.info().get("session_dir", "")).rstrip("/").rpartition("/")[2]

    def get_temp_dir(self) -> str:
        """Directory under which the session's files lie."""
        return os.path.dirname(str(_core.info().get("session_dir", "")).rstrip("/"))

    # -- the task --

    def get_task_id(self) -> str | None:
        """Id of the running task or call; None in a driver."""
        job = _job()
        return None if job is None else job.task_id.hex()

    def get_task_name(self) -> str | None:
        """Display name of the running task: as `.options(name=)` says, its function, or
        Class.method."""
        job, actor = _job(), _actor()
        if job is None:
            return None
        return job.name if actor is None else actor.where(job).name

    def get_task_function_name(self) -> str | None:
        """module.function, or module.Class.method, of the running task."""
        from whipray._private import exporting, loading

        job, actor = _job(), _actor()
        if job is None:
            return None
        if actor is None:
            return loading.full_name(job.fn)
        return f"{exporting.module_of(actor.cls)}.{actor.full_name(job)}"

    def is_canceled(self) -> bool:
        """True once somebody has asked for the running task's cancellation."""
        job = _job()
        return job is not None and bool(job.cancelled)

    def get_assigned_resources(self) -> dict[str, float]:
        """Resources that the running task or actor holds."""
        from whipray._private import exporting, loading

        job, actor = _job(), _actor()
        if actor is not None:
            return dict(actor.held)
        if job is None:
            job = _core.running_job()  # a thread that the task has started
        if job is None:
            return {}
        return dict(loading.extras(job.fn).get("resources", exporting.DEFAULT_CLAIM))

    def get_resource_ids(self) -> dict[str, list[str]]:
        """The older name of get_accelerator_ids."""
        return self.get_accelerator_ids()

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Ids of accelerators by kind; of kinds other than GPU there are none."""
        from whipray._private.api import get_gpu_ids

        ids: dict[str, list[str]] = {kind: [] for kind in _ACCELERATORS}
        ids["GPU"] = [str(gpu) for gpu in get_gpu_ids()]
        return ids

    # -- the actor --

    def get_actor_id(self) -> str | None:
        """Id of the actor that this process is."""
        own = _core.current_actor_bytes() if _actor() is not None else None
        return None if own is None else own.hex()

    def get_actor_name(self) -> str | None:
        """Registered name of the actor, "" if it has none."""
        actor = _actor()
        return None if actor is None else actor.name

    @property
    def current_actor(self) -> Any:
        """A handle to the actor that asks; RuntimeError outside of actors.

        It does not keep the actor alive, and neither do its copies in other processes.
        """
        handle = _core.current_actor() if _actor() is not None else None
        if handle is None:
            raise RuntimeError(_NO_ACTOR)
        return handle

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """True if the actor was restarted at least once."""
        if _actor() is None:
            raise RuntimeError(_NO_ACTOR)
        return _core.actor_state(None)[1] > 0

    # -- the surroundings --

    @property
    def namespace(self) -> str:
        """Namespace in which names are looked up."""
        return worker.state.namespace

    @property
    def runtime_env(self) -> RuntimeEnv:
        """The environment of the task, actor or job."""
        from whipray._private.envs import enter, fields
        from whipray.runtime_env import RuntimeEnv

        of_job = enter.of_job() if worker.state.is_worker else worker.state.runtime_env
        found = fields.merge(of_job, shapes.inherited_env())
        hook = found.get("worker_process_setup_hook")
        if isinstance(hook, dict):
            found["worker_process_setup_hook"] = hook["name"]
        return RuntimeEnv(_validate=False, **found)

    def get_runtime_env_string(self) -> str:
        """`runtime_env` as JSON."""
        return self.runtime_env.serialize()

    @property
    def gcs_address(self) -> str:
        """Where other drivers can join."""
        return str(worker.state.context["gcs_address"]) if worker.state.context else ""

    def get_placement_group_id(self) -> str | None:
        """Id of the placement group that the task or actor is in, or None."""
        raw, _ = worker.state.group
        return None if raw is None else raw.hex()

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what is submitted here goes into this task's or actor's placement group."""
        return worker.state.group[1]

    def get_node_labels(self) -> dict[str, str]:
        """Labels of the node."""
        from whipray._private import labels

        return dict(labels.of_node())

    # -- older names --

    @property
    def current_placement_group_id(self) -> Any:
        """The placement group as an id object; nil outside of groups."""
        from whipray._private.ids import PlacementGroupID

        found = self.get_placement_group_id()
        return PlacementGroupID.nil() if found is None else PlacementGroupID.from_hex(found)

    def get(self) -> dict[str, Any]:
        """The ids of what runs, as id objects."""
        found: dict[str, Any] = {
            "job_id": self.job_id,
            "node_id": self.node_id,
            "namespace": self.namespace,
        }
        if self.get_task_id() is not None:
            found["task_id"] = self.task_id
        if self.get_actor_id() is not None:
            found["actor_id"] = self.actor_id
        return found

    @property
    def job_id(self) -> Any:
        """The job as an id object."""
        from whipray._private.ids import JobID

        return JobID.from_hex(self.get_job_id())

    @property
    def node_id(self) -> Any:
        """The node as an id object."""
        from whipray._private.ids import NodeID

        return NodeID.from_hex(self.get_node_id())

    @property
    def task_id(self) -> Any:
        """The running task as an id object, or None."""
        from whipray._private.ids import TaskID

        found = self.get_task_id()
        return None if found is None else TaskID.from_hex(found)

    @property
    def actor_id(self) -> Any:
        """The actor as an id object, or None."""
        from whipray._private.ids import ActorID

        found = self.get_actor_id()
        return None if found is None else ActorID.from_hex(found)


def _job() -> _core.Job | None:
    """The job that asks; drivers have none."""
    return _core.current_job()


def _actor() -> Any:
    """What is known of the actor that this process is."""
    if not worker.state.is_worker:
        return None
    from whipray._private import serving

    return serving.running.actor


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """The context of the caller; starts a session if there is none."""
    worker.ensure_attached()
    return _context
