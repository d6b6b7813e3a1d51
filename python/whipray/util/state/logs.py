"""Log files of this process's session: of the daemon, of the process that forks workers, and of
each worker what it has printed, its output and its errors in the order they came.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from whipray import _core
from whipray._private import jobs, worker
from whipray.util.state import queries
from whipray.util.state.common import DEFAULT_RPC_TIMEOUT
from whipray.util.state.exception import RayStateApiException

LOOK_SECONDS = 0.1
"""Between two looks at a file that is followed, if the caller does not say."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = DEFAULT_RPC_TIMEOUT,
) -> dict[str, list[str]]:
    """Names of the log files by what has written them: `worker`, `fork_server`, `whiprayd`.

    Args:
        glob_filter: pattern of the names, as "*worker*"; None: all.
        address, node_id, node_ip, timeout: not used.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(os.listdir(_folder())):
        if fnmatch.fnmatch(name, glob_filter or "*"):
            groups.setdefault(name.removesuffix(".log").partition("-")[0], []).append(name)
    return groups


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = DEFAULT_RPC_TIMEOUT,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[Any]:
    """What a log file holds, in pieces.

    Args:
        filename: one of `list_logs()`.
        actor_id, task_id, pid: in place of it, whose worker's file it is, as a whole.
        submission_id: in place of it, a job's.
        follow: go on as the file grows, until it is removed with its session.
        tail: lines from the end; -1: all.
        encoding, errors: of the text; None: bytes.
        filter_ansi_code: leave out codes for colours.
        suffix: "out" or "err": it is one file.
        address, node_id, node_ip, timeout, attempt_number: not used.

    Raises:
        RayStateApiException: there is no such file, or no such worker.
        ValueError: `suffix` is another one.
    """
    if suffix not in ("out", "err"):
        raise ValueError(f"Invalid suffix: {suffix}. Must be one of 'out' or 'err'.")
    path = _path(filename, actor_id, task_id, pid, submission_id)
    if not os.path.isfile(path):
        if not (filename or submission_id or follow) and (pid is None or _is_worker(pid)):
            return iter(())  # it has written nothing
        raise RayStateApiException(f"there is no log file {path}; list_logs() names them")
    return _texts(
        read_tail(path, tail, follow, _interval or LOOK_SECONDS), encoding, errors, filter_ansi_code
    )


def read_tail(
    path: str, lines: int, follow: bool, seconds: float = LOOK_SECONDS
) -> Iterator[bytes]:
    """The last lines of a file, -1: all, and with `follow` what is added until it is removed."""
    with open(path, "rb") as file:
        yield _last(file, lines)
        while follow and os.path.exists(path):
            text = file.read()
            if text:
                yield text
            else:
                time.sleep(seconds)


def _last(file: BinaryIO, lines: int) -> bytes:
    if lines < 0:
        return file.read()
    return b"".join(deque(file, maxlen=lines))


def _texts(
    pieces: Iterator[bytes], encoding: str | None, errors: str | None, plain: bool
) -> Iterator[Any]:
    for piece in pieces:
        if encoding is None:
            yield piece
        else:
            text = piece.decode(encoding, errors or "strict")
            yield _ANSI.sub("", text) if plain else text


def _session_dir() -> str:
    worker.require_attached("log files")
    return str(_core.info().get("session_dir", ""))


def _folder() -> str:
    return os.path.join(_session_dir(), "logs")


def _path(
    filename: str | None,
    actor_id: str | None,
    task_id: str | None,
    pid: int | None,
    submission_id: str | None,
) -> str:
    if filename:
        return os.path.join(_folder(), os.path.basename(filename))
    if submission_id:
        return jobs.log_of(_session_dir(), submission_id)
    pid = pid or _worker_of(actor_id, task_id)
    if not pid:
        raise RayStateApiException(
            "name a file (`filename`), or a worker that has one by `pid`, `actor_id` or `task_id`"
        )
    return os.path.join(_folder(), f"worker-{pid}.log")


def _worker_of(actor_id: str | None, task_id: str | None) -> int | None:
    if actor_id:
        actor = queries.get_actor(actor_id)
        if actor is None:
            raise RayStateApiException(f"Actor ID {actor_id} not found.")
        return actor.pid
    if not task_id:
        return None
    task = queries.get_task(task_id)
    if task is None:
        raise RayStateApiException(f"Task ID {task_id} not found; its result has gone.")
    return task.worker_pid


def _is_worker(pid: int) -> bool:
    return any(row["pid"] == pid for row in _core.procs())
