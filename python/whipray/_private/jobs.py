"""The records of submitted jobs: a folder for each, below `jobs` in the session's directory.

A folder has `info.json`, which is replaced as a whole at each change, and `lock`, held without a
gap by whoever answers for the job: the process that submits it, then its supervisor.  A job that is
not done and whose lock is free has lost its supervisor, whoever sees that first writes it down.
`stop` is there once somebody wants the job to end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
import time
from typing import Any

FOLDER = "jobs"
DONE = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
LOST = "The process that watched over the job has died."
_MAKING = ".making-"

Info = dict[str, Any]


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def folder_of(session_dir: str, job_id: str) -> str:
    """The job's folder; RuntimeError if there is no such job."""
    path = os.path.join(session_dir, FOLDER, _name(job_id))
    if not os.path.isdir(path):
        raise RuntimeError(f"Job {job_id} does not exist.")
    return path


def log_of(session_dir: str, job_id: str) -> str:
    """The file with the job's output."""
    return os.path.join(session_dir, "logs", f"job-driver-{_name(job_id)}.log")


def _name(job_id: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,127}", job_id, re.ASCII):
        raise ValueError(
            f"the id of a job consists of letters, digits, '_', '-' and '.', not {job_id!r}"
        )
    return job_id


def create(session_dir: str, info: Info) -> tuple[str, int]:
    """(folder, descriptor that holds the lock) of a new job; ValueError if its id is taken."""
    top = os.path.join(session_dir, FOLDER)
    os.makedirs(top, mode=0o700, exist_ok=True)
    final = os.path.join(top, _name(info["submission_id"]))
    making = tempfile.mkdtemp(prefix=_MAKING, dir=top)
    lock = os.open(os.path.join(making, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(making, info)
        os.rename(making, final)
    except OSError:
        os.close(lock)
        shutil.rmtree(making, ignore_errors=True)
        if not os.path.isdir(final):
            raise
        raise ValueError(
            f"Job with submission_id {info['submission_id']} already exists. Please use a "
            "different submission_id."
        ) from None
    return final, lock


def write(folder: str, info: Info) -> None:
    """Replace what is known about the job; by the holder of the lock only."""
    path = os.path.join(folder, "info.json")
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(info, file)
    os.rename(f"{path}.new", path)


def _read(folder: str) -> Info:
    with open(os.path.join(folder, "info.json"), encoding="utf-8") as file:
        return dict(json.load(file))


def current(folder: str) -> Info:
    """What is known about the job now; FileNotFoundError when it has been deleted."""
    info = _read(folder)
    if info["status"] in DONE:
        return info
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return info
    else:
        info = _read(folder)  # it may have ended properly meanwhile
        if info["status"] not in DONE:
            info.update(status="FAILED", message=LOST, end_time=now())
            info["error_type"] = "JOB_SUPERVISOR_ACTOR_DIED"
            write(folder, info)
        return info
    finally:
        os.close(lock)


def all_of(session_dir: str) -> list[Info]:
    """All jobs of the session in the order in which they were submitted."""
    top = os.path.join(session_dir, FOLDER)
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(top):
            if not name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found.append(current(os.path.join(top, name)))
    return sorted(found, key=lambda info: (info["start_time"], info["submission_id"]))


def ask_to_stop(folder: str) -> bool:
    """Let the supervisor end the job; False if it is done already.

    A supervisor that starts looks for the file after it has written its pid, so one of the two is
    seen.  While the lock is held, the pid that the record names is the supervisor's.
    """
    with open(os.path.join(folder, "stop"), "w", encoding="utf-8"):
        pass
    info = current(folder)
    if info["status"] in DONE:
        return False
    if info.get("supervisor"):
        with contextlib.suppress(ProcessLookupError):
            supervisor = os.pidfd_open(info["supervisor"])
            try:
                if current(folder)["status"] not in DONE:
                    signal.pidfd_send_signal(supervisor, signal.SIGTERM)
            finally:
                os.close(supervisor)
    return True


def delete(folder: str) -> None:
    """Remove the record of a job that is done; RuntimeError for one that is not."""
    info = current(folder)
    if info["status"] not in DONE:
        raise RuntimeError(
            f"Attempted to delete job '{info['submission_id']}', but it is in a non-terminal state "
            f"{info['status']}."
        )
    hidden = tempfile.mkdtemp(prefix=_MAKING, dir=os.path.dirname(folder))
    os.rename(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
