"""Reading the rows out of the segment, as it is at the moment; nothing of it is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from whipray import _core
from whipray._private import hooks, pickled_names, state, worker
from whipray._private import jobs as submitted
from whipray._private.ids import JobID, node_id_of, worker_id_of
from whipray.util.state import task_failures

Row = dict[str, Any]

ACTOR_PHASES = {1: "PENDING_CREATION", 2: "ALIVE", 3: "RESTARTING", 4: "DEAD"}
ACTOR_ENDS = {
    1: "it was killed by `ray.kill`",
    2: "it exited: exit_actor was called or its last handle went away",
    3: "its constructor raised an error",
    4: "its process died",
    5: "the process that created it has ended",
}
DETACHED = 0x01
DRIVER, WORKER = 2, 3
LIVE = 2
BLOCKED = 4
CALL = 0x04
WAITING, RUNNING, FINISHED, KEPT = 2, 4, 5, 8
READY, FAILED = 2, 3
EXPORT = 0x08
"""Values of shm/layout.h."""


class Session:
    """What all rows have in common, and the processes, read once for a listing."""

    def __init__(self) -> None:
        self.info = _core.info()
        self.node = node_id_of(str(self.info.get("session", ""))).hex()
        self.procs = {row["slot"]: row for row in _core.procs()}
        self._boot_ms = time.time() * 1000 - time.monotonic() * 1000
        self._names: dict[bytes, str] = {}
        self._methods: dict[bytes, tuple[str, dict[int, str]]] = {}

    def job(self, slot: int) -> str:
        """Id of the job that the process of `slot` belongs to."""
        return JobID.from_int(self.procs.get(slot, {"job": 0})["job"]).hex()

    def worker(self, slot: int) -> str | None:
        """Id of the process of `slot`."""
        row = self.procs.get(slot)
        if row is None:
            return None
        return worker_id_of(str(self.info.get("session", "")), slot, row["gen"]).hex()

    def time_ms(self, started_ns: int) -> int | None:
        """A time of the monotonic clock as milliseconds since 1970."""
        return int(self._boot_ms + started_ns / 1e6) if started_ns else None

    def function(self, export: bytes | None) -> str:
        """Name of an exported function."""
        if export is None:
            return ""
        if export not in self._names:
            self._names[export] = pickled_names.shown(export)
        return self._names[export]

    def actor_class(self, actor: bytes) -> tuple[str, dict[int, str]]:
        """(name of the class, {number: name of method}) of an actor; empty if it is gone."""
        if not self._methods:
            self._methods = {row["id"]: _described(row) for row in _core.actors()}
        return self._methods.get(actor, ("", {}))


def _described(row: Row) -> tuple[str, dict[int, str]]:
    try:
        packed = _core.export_bytes(_core.ObjectRef(row["description"]))
        methods = hooks.describe(packed)[0]
    except Exception:
        methods = {}  # let go of meanwhile
    return row["cls_name"], {info[0]: name for name, info in methods.items()}


# ---- the kinds of rows ---------------------------------------------------------------------------


def actors() -> Iterator[Row]:
    """Actors, dead ones too as long as a handle is left."""
    session = Session()
    for row in _core.actors():
        dead = row["phase"] == 4
        cause = ACTOR_ENDS.get(row["cause"]) if dead else None
        kind = "creation_task_failure_context" if row["cause"] == 3 else "actor_died_error_context"
        yield {
            "actor_id": _actor_id(row["id"]),
            "class_name": row["cls_name"],
            "state": ACTOR_PHASES.get(row["phase"], "DEPENDENCIES_UNREADY"),
            "job_id": JobID.from_int(row["job"]).hex(),
            "name": row["name"],
            "node_id": session.node if row["slot"] else None,
            "pid": row["pid"] or 0,
            "ray_namespace": row["namespace"],
            "serialized_runtime_env": "{}",
            "required_resources": None,
            "death_cause": {kind: {"error_message": f"The actor died because {cause}."}}
            if cause
            else None,
            "is_detached": bool(row["flags"] & DETACHED),
            "placement_group_id": None,
            "repr_name": "",
            "num_restarts": row["restarts"],
            "call_site": None,
        }


def _actor_id(ref: bytes) -> str:
    """The id that handles show: session, job, number and generation."""
    return (ref[:4] + ref[20:24] + ref[12:20]).hex()


def nodes() -> Iterator[Row]:
    """The node."""
    session = Session()
    for node in state.nodes():
        yield {
            "node_id": node["NodeID"],
            "node_ip": node["NodeManagerAddress"],
            "is_head_node": True,
            "state": "ALIVE",
            "state_message": None,
            "node_name": node["NodeName"],
            "resources_total": node["Resources"],
            "labels": node["Labels"],
            "start_time_ms": session.time_ms(session.info.get("start_ns", 0)),
            "end_time_ms": 0,
        }


def workers() -> Iterator[Row]:
    """Drivers and workers that live."""
    session = Session()
    for slot, row in session.procs.items():
        if row["role"] not in (DRIVER, WORKER):
            continue
        started = session.time_ms(row["started_ns"])
        yield {
            "worker_id": session.worker(slot),
            "is_alive": row["phase"] == LIVE,
            "worker_type": "DRIVER" if row["role"] == DRIVER else "WORKER",
            "exit_type": None,
            "node_id": session.node,
            "ip": state.node_ip(),
            "pid": row["pid"],
            "exit_detail": None,
            "worker_launch_time_ms": started,
            "worker_launched_time_ms": started,
            "start_time_ms": started,
            "end_time_ms": None,
        }


def jobs() -> Iterator[Row]:
    """One row for each driver that is in the session, and for each job that was submitted to it."""
    yield from _drivers()
    for info in submitted.all_of(str(_core.info()["session_dir"])):
        yield {
            "type": "SUBMISSION",
            "job_id": None,
            "driver_info": None,
            **{name: info.get(name) for name in _SUBMITTED},
        }


_SUBMITTED = (
    "submission_id status entrypoint message error_type start_time end_time metadata runtime_env "
    "driver_exit_code"
).split()


def _drivers() -> Iterator[Row]:
    session = Session()
    for slot, row in session.procs.items():
        if row["role"] != DRIVER:
            continue
        yield {
            "type": "DRIVER",
            "job_id": session.job(slot),
            "submission_id": None,
            "driver_info": {
                "id": session.job(slot),
                "node_ip_address": state.node_ip(),
                "pid": str(row["pid"]),
            },
            "status": "RUNNING",
            "entrypoint": _command(row["pid"]),
            "start_time": session.time_ms(row["started_ns"]),
            "runtime_env": dict(worker.state.runtime_env),
            "metadata": {},
            "driver_node_id": session.node,
        }


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def tasks() -> Iterator[Row]:
    """Tasks and calls whose records live: not finished, or a result is still referred to."""
    session = Session()
    for row in _records(_core.task_rows):
        kind, name, owner = _what(session, row)
        phase, slot = row["phase"], row["slot"]
        ran = slot if phase == RUNNING or (phase in (FINISHED, KEPT) and slot > 1) else 0
        process = session.procs.get(ran)
        error_type, error_message = task_failures.told(row)
        yield {
            "task_id": row["id"].hex(),
            "attempt_number": 0,  # records do not count them
            "name": name,
            "state": _task_state(session, row),
            "job_id": JobID.from_int(row["job"]).hex(),
            "actor_id": _actor_id(row["actor"]) if row["actor"] else None,
            "type": kind,
            "func_or_class_name": owner,
            "parent_task_id": row["parent"].hex() if row["parent"] else "ff" * 24,
            "node_id": session.node if ran else None,
            "worker_id": session.worker(ran) if ran else None,
            "worker_pid": process["pid"] if process else None,
            "error_type": error_type,
            "error_message": error_message,
            "language": "PYTHON",
        }


def _what(session: Session, row: Row) -> tuple[str, str, str]:
    """(type, name, function or Class.method) of a task."""
    if row["flags"] & CALL:
        cls, methods = session.actor_class(row["actor"])
        name = f"{cls}.{methods.get(row['method'], '?')}"
        return "ACTOR_TASK", name, name
    if row["actor"]:
        name = f"{session.actor_class(row['actor'])[0]}.__init__"
        return "ACTOR_CREATION_TASK", name, name
    name = session.function(row["fn"])
    return "NORMAL_TASK", name, name


def _task_state(session: Session, row: Row) -> str:
    phase = row["phase"]
    if row["result"] in (READY, FAILED):  # may be there before the task is done
        return "FAILED" if row["result"] == FAILED else "FINISHED"
    if phase == RUNNING:
        process = session.procs.get(row["slot"], {})
        blocked = process.get("activity") == BLOCKED and process.get("current") == row["idx"]
        return "RUNNING_IN_RAY_GET" if blocked else "RUNNING"
    if phase == WAITING:
        return "PENDING_ARGS_AVAIL"
    return "SUBMITTED_TO_WORKER" if row["flags"] & CALL else "PENDING_NODE_ASSIGNMENT"


def objects() -> Iterator[Row]:
    """Objects that somebody refers to."""
    session = Session()
    for row in _records(_core.object_rows):
        if row["flags"] & EXPORT:
            continue
        pending = row["phase"] not in (READY, FAILED)
        creator = session.procs.get(row["creator"], {})
        driver = creator.get("role") == DRIVER
        yield {
            "object_id": row["id"].hex(),
            "object_size": -1 if pending else row["size"],
            "task_status": "PENDING"
            if pending
            else "FAILED"
            if row["phase"] == FAILED
            else "FINISHED",
            "attempt_number": 1,
            "reference_type": "LOCAL_REFERENCE" if row["of_creator"] else "PINNED_IN_MEMORY",
            "call_site": "disabled",
            "type": "DRIVER" if driver else "WORKER",
            "pid": creator.get("pid", 0),
            "ip": state.node_ip(),
        }


def placement_groups() -> Iterator[Row]:
    """Placement groups, also removed ones that are still known."""
    from whipray.util.placement_group import placement_group_table

    job = JobID.from_int(int(_core.info().get("job", 0))).hex()
    for row in placement_group_table().values():
        bundles: dict[int, dict[str, float]] = row["bundles"]
        yield {
            "placement_group_id": row["placement_group_id"],
            "name": row["name"],
            "creator_job_id": job,
            "state": row["state"],
            "bundles": [
                {"bundle_id": index, "unit_resources": wanted} for index, wanted in bundles.items()
            ],
            "is_detached": None,
            "stats": row["stats"],
        }


def _records(read: Callable[[int], list[Row] | None]) -> Iterator[Row]:
    chunk = 0
    while (found := read(chunk)) is not None:
        yield from found
        chunk += 1
