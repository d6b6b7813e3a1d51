"""Reading the rows out of the segment, as it is at the moment; nothing of it is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from whipray import _core
from whipray._private import jobs as submitted
from whipray._private import state, worker
from whipray._private.exporting import DEFAULT_CLAIM
from whipray._private.ids import JobID
from whipray.job_submission import DriverInfo, JobStatus, JobType
from whipray.util import rpdb
from whipray.util.state import task_failures
from whipray.util.state.facts import ActorFacts, Demand, Session, label_columns

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


# ---- the kinds of rows ---------------------------------------------------------------------------


def actors() -> Iterator[Row]:
    """Actors, dead ones too as long as a handle is left."""
    session = Session()
    for row in sorted(_core.actors(), key=lambda row: _actor_id(row["id"])):
        demand = session.demand(row["shape"])
        dead = row["phase"] == 4
        cause = ACTOR_ENDS.get(row["cause"]) if dead else None
        kind = "creation_task_failure_context" if row["cause"] == 3 else "actor_died_error_context"
        yield {
            "actor_id": _actor_id(row["id"]),
            "class_name": row["cls_name"],
            "state": ACTOR_PHASES.get(row["phase"], "DEPENDENCIES_UNREADY"),
            "job_id": JobID.from_int(row["job"]).hex(),
            "name": row["name"] or "",
            "node_id": session.node if row["pid"] else None,
            "pid": row["pid"] or 0,
            "ray_namespace": row["namespace"],
            "serialized_runtime_env": demand.env,
            "required_resources": demand.resources,
            "death_cause": {kind: {"error_message": f"The actor died because {cause}."}}
            if cause
            else None,
            "is_detached": bool(row["flags"] & DETACHED),
            "placement_group_id": demand.group,
            "repr_name": "",
            "num_restarts": row["restarts"],
            "num_restarts_due_to_lineage_reconstruction": 0,  # values alone are made again
            "num_restarts_due_to_node_preemption": 0,
            "call_site": None,
            **label_columns(ActorFacts(row).asked, None),
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
            "resources_total": {
                name: total for name, total in node["Resources"].items() if "_group_" not in name
            },
            "labels": node["Labels"],
            "start_time_ms": session.time_ms(session.info.get("start_ns", 0)),
            "end_time_ms": 0,
        }


def workers() -> Iterator[Row]:
    """Drivers and workers that live."""
    session, paused = Session(), _paused()
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
            "end_time_ms": 0,
            "num_paused_threads": paused.get(row["pid"]),
        }


def _paused() -> Counter[int]:
    """Break points that wait, by process."""
    names = rpdb.waiting(str(_core.info()["session_dir"]))
    return Counter(int(name.partition("-")[0]) for name in names)


def jobs() -> Iterator[Row]:
    """One row for each driver that is in the session, and for each job that was submitted to it."""
    yield from _drivers()
    for info in submitted.all_of(str(_core.info()["session_dir"])):
        yield {
            **{name: info.get(name) for name in _SUBMITTED},
            "type": JobType.SUBMISSION,
            "status": JobStatus(info["status"]),
            "job_id": None,
            "driver_info": None,
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
            "type": JobType.DRIVER,
            "job_id": session.job(slot),
            "submission_id": None,
            "driver_info": DriverInfo(session.job(slot), state.node_ip(), str(row["pid"])),
            "status": JobStatus.RUNNING,
            "entrypoint": _command(row["pid"]),
            "start_time": session.time_ms(row["started_ns"]),
            "end_time": 0,
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
    session, paused = Session(), _paused()
    for row in _records(_core.task_rows):
        kind, name, function, asked = _what(session, row)
        phase, slot = row["phase"], row["slot"]
        ran = slot if phase == RUNNING or (phase in (FINISHED, KEPT) and slot > 1) else 0
        pid = session.procs.get(ran, {}).get("pid")
        state = _task_state(session, row)
        error_type, error_message = task_failures.told(row)
        demand = _demand(session, row)
        yield {
            "task_id": row["id"].hex(),
            "attempt_number": 0,  # records do not count them
            "name": row["name"] or name,
            "state": state,
            "job_id": JobID.from_int(row["job"]).hex(),
            "actor_id": _actor_id(row["actor"]) if row["actor"] else None,
            "type": kind,
            "func_or_class_name": function,
            "parent_task_id": row["parent"].hex() if row["parent"] else "ff" * 24,
            "node_id": session.node if ran else None,
            "worker_id": session.worker(ran) if ran else None,
            "worker_pid": pid,
            "error_type": error_type,
            "error_message": error_message,
            "language": "PYTHON",
            "required_resources": _claimed(row, demand, asked),
            "runtime_env_info": {"serialized_runtime_env": demand.env} if demand else None,
            "placement_group_id": demand.group if demand and kind != "ACTOR_TASK" else None,
            "is_debugger_paused": True if pid in paused and state == "RUNNING" else None,
            **label_columns(asked, {"options": []}),
        }


def _demand(session: Session, row: Row) -> Demand | None:
    """What a task, or the actor of a call, asks for; a plain task that is done tells no more."""
    if row["actor"]:
        shape = session.actor(row["actor"]).row.get("shape")
        return session.demand(shape) if shape is not None else None
    return session.demand(row["shape"]) if row["phase"] != FINISHED else None


def _claimed(row: Row, demand: Demand | None, asked: Row) -> dict[str, float]:
    """The resources of a task; calls run on what their actor has."""
    if row["flags"] & CALL:
        return {}
    if demand is not None:
        return demand.resources
    return {} if row["actor"] else dict(asked.get("resources", DEFAULT_CLAIM))


def _what(session: Session, row: Row) -> tuple[str, str, str, Row]:
    """(type, name, function or Class.method, what it asks of labels) of a task."""
    if not row["actor"]:
        return "NORMAL_TASK", *session.function(row["fn"])
    actor = session.actor(row["actor"])
    if row["flags"] & CALL:
        name = f"{actor.shown}.{actor.methods.get(row['method'], '?')}"
        return "ACTOR_TASK", name, name, {}
    function = f"{actor.shown}.__init__"
    own = actor.row.get("name")
    return "ACTOR_CREATION_TASK", f"{own}:{function}" if own else function, function, actor.asked


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
    making: dict[str, str] = {}
    for row in _records(_core.object_rows):
        if row["flags"] & EXPORT:
            continue
        pending = row["phase"] not in (READY, FAILED)
        if pending and not making:
            making = {task["task_id"]: task["state"] for task in tasks()}
        creator = session.procs.get(row["creator"], {})
        driver = creator.get("role") == DRIVER
        yield {
            "object_id": row["id"].hex(),
            "object_size": -1 if pending else row["size"],
            "task_status": _status(making.get(row["id"].hex()[:48])) if pending else "FINISHED",
            "attempt_number": 1,
            "reference_type": "LOCAL_REFERENCE" if row["of_creator"] else "PINNED_IN_MEMORY",
            "call_site": "disabled",
            "type": "DRIVER" if driver else "WORKER",
            "pid": creator.get("pid", 0),
            "ip": state.node_ip(),
        }


def _status(task: str | None) -> str:
    """What its owner knows of a task whose value is not there; NIL: it is not known."""
    return "SUBMITTED_TO_WORKER" if task in _WITH_WORKER else task or "NIL"


_WITH_WORKER = ("RUNNING", "RUNNING_IN_RAY_GET")


def placement_groups() -> Iterator[Row]:
    """Placement groups, also removed ones that are still known."""
    from whipray.util.placement_group import placement_group_facts

    for row in placement_group_facts():
        group, nodes = row["placement_group_id"], row["bundles_to_node_id"]
        yield {
            "placement_group_id": group,
            "name": row["name"],
            "creator_job_id": JobID.from_int(row["job"]).hex(),
            "state": row["state"],
            "bundles": [
                {
                    "bundle_id": {"placement_group_id": group, "bundle_index": index},
                    "unit_resources": wanted,
                    "node_id": nodes[index] or None,
                    "label_selector": {},
                }
                for index, wanted in row["bundles"].items()
            ],
            "is_detached": row["is_detached"],
            "stats": row["stats"],
            "topology_strategy": {},
            "topology_assignments": {},
        }


def _records(read: Callable[[int], list[Row] | None]) -> Iterator[Row]:
    chunk = 0
    while (found := read(chunk)) is not None:
        yield from found
        chunk += 1
