"""Why a task failed, by the names that Ray's listings have for it."""

from __future__ import annotations

from typing import Any

from whipray import _core, exceptions

FAILED = 3
"""Of shm/layout.h."""
RAISED = "TASK_EXECUTION_EXCEPTION"
TYPES: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.TaskCancelledError, "TASK_CANCELLED"),
    (exceptions.OutOfMemoryError, "OUT_OF_MEMORY"),
    (exceptions.WorkerCrashedError, "WORKER_DIED"),
    (exceptions.ActorUnavailableError, "ACTOR_UNAVAILABLE"),
    (exceptions.ActorUnschedulableError, "ACTOR_UNSCHEDULABLE_ERROR"),
    (exceptions.TaskUnschedulableError, "TASK_UNSCHEDULABLE_ERROR"),
    (exceptions.ActorPlacementGroupRemoved, "ACTOR_PLACEMENT_GROUP_REMOVED"),
    (exceptions.TaskPlacementGroupRemoved, "TASK_PLACEMENT_GROUP_REMOVED"),
    (exceptions.RayActorError, "ACTOR_DIED"),
    (exceptions.RuntimeEnvSetupError, "RUNTIME_ENV_SETUP_FAILED"),
    (exceptions.OutOfDiskError, "OUT_OF_DISK_ERROR"),
    (exceptions.ObjectLostError, "OBJECT_LOST"),
)


def told(row: dict[str, Any]) -> tuple[str | None, str | None]:
    """(type, message) of the failure of a task, by its row.

    What the task itself raised is not read: that would run code of whoever pickled it.
    """
    if row["result"] != FAILED:
        return None, None
    if not row["by_engine"]:
        return RAISED, None
    error: object
    try:
        error = _core.get(_core.ObjectRef(row["value"]), timeout=0)
    except Exception as raised:
        error = raised
    for kind, name in TYPES:
        if isinstance(error, kind):
            return name, str(error)
    return RAISED, None
