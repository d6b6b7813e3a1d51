"""GPUs: how many the machine has, which ones the running task or actor may use.

The engine assigns GPUs by number, from 0 on.  Where CUDA_VISIBLE_DEVICES was set when the process
started, a number means a place in that list.
"""

from __future__ import annotations

import os

from whipray import _core

VISIBLE = "CUDA_VISIBLE_DEVICES"
NOT_SET = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
SET_EMPTY = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
MOST = 64
"""GPUs of one session."""

_original = os.environ.get(VISIBLE)


def remember() -> None:
    """In a worker that begins: the list that its driver, or its runtime_env, has given it."""
    global _original
    _original = os.environ.get(VISIBLE)


def _listed(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [] if text in ("", "NoDevFiles") else text.split(",")


def count(asked: float | None) -> float:
    """The GPUs of a new session; ValueError when more are asked for than are visible."""
    visible = _listed(os.environ.get(VISIBLE))
    if asked is None:
        there = _of_machine()
        return float(there if visible is None else min(there, len(visible)))
    if visible is not None and asked > len(visible):
        raise ValueError(
            f"Attempting to start a session with {asked:g} GPU, but {VISIBLE} contains {visible}."
        )
    if asked > MOST:
        raise ValueError(f"num_gpus={asked:g}: a session has at most {MOST} GPUs")
    return float(asked)


def _of_machine() -> int:
    found = 0
    while os.path.exists(f"/dev/nvidia{found}"):
        found += 1
    return found


def assigned() -> list[int | str]:
    """Ids of the GPUs that the running task or actor may use."""
    numbers = _core.gpu_ids()
    listed = _listed(_original)
    if listed is None:
        return list(numbers)
    if all(number < len(listed) for number in numbers):
        return [listed[number] for number in numbers]
    return list(listed)  # a runtime_env has narrowed the list


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true")


def show() -> str | None:
    """Set CUDA_VISIBLE_DEVICES for what runs now; returns what it was."""
    before = os.environ.get(VISIBLE)
    ids = assigned() if _core.gpu_ids() else []
    if not _is_on(NOT_SET) and (ids or _is_on(SET_EMPTY)):
        os.environ[VISIBLE] = ",".join(map(str, ids))
    return before


def restore(before: str | None) -> None:
    """Undo `show`."""
    if before is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = before
