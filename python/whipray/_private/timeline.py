"""Times of tasks and calls, recorded only where RAY_PROFILING=1 is set when the session starts.

Each worker appends a line to a file of its own in the session's folder for each function that it
has run; `timeline` makes a trace for Chrome and Perfetto of all of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import IO, Any

from whipray import _core
from whipray._private import worker

FOLDER = "timeline"


def enabled() -> bool:
    """Times are to be recorded."""
    return os.environ.get("RAY_PROFILING") == "1"


_file: IO[str] | None = None


def _folder() -> str:
    return os.path.join(str(_core.info()["session_dir"]), FOLDER)


def _note(name: str, start: int) -> None:
    """Write one event at once: the process may be killed at any time."""
    global _file
    import json

    end = time.time_ns()
    try:
        if _file is None:
            os.makedirs(_folder(), exist_ok=True)
            path = os.path.join(_folder(), f"{os.getpid()}.jsonl")
            _file = open(path, "a", buffering=1, encoding="utf-8")
        _file.write(json.dumps([name, start, end]) + "\n")
    except OSError:
        pass  # no room, or the session's folder has gone


def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`function`, noting when it runs."""
    import functools
    import inspect

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            start = time.time_ns()
            try:
                return await function(*args, **kwargs)
            finally:
                _note(_shown(name), start)

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.time_ns()
        try:
            return function(*args, **kwargs)
        finally:
            _note(_shown(name), start)

    return call


def _shown(name: str) -> str:
    """The name of the task or call that runs if it has one of its own."""
    job = _core.current_job()
    return job.name if job is not None and job.named else name


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """The recorded tasks and calls as events of a Chrome trace: a list, or a file if one is named.

    Nothing is recorded unless RAY_PROFILING=1 was set in the environment at init().
    """
    worker.require_attached("timeline")
    if not enabled():
        import warnings

        warnings.warn(
            "timeline(): nothing was recorded; set RAY_PROFILING=1 in the environment before "
            "init()",
            stacklevel=2,
        )
    found = events()
    if filename is None:
        return found
    import json

    with open(filename, "w", encoding="utf-8") as file:
        json.dump(found, file)
    return None


def events() -> list[dict[str, Any]]:
    """What the workers of the session have recorded so far, after the names of the processes."""
    from whipray._private.state import node_ip

    process = f"Node {node_ip()}"
    found: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": process, "args": {"name": process}}
    ]
    try:
        files = sorted(os.scandir(_folder()), key=lambda entry: entry.name)
    except FileNotFoundError:
        files = []
    for entry in files:
        thread = f"worker:{entry.name.partition('.')[0]}"
        found.append(
            {
                "ph": "M",
                "name": "thread_name",
                "pid": process,
                "tid": thread,
                "args": {"name": thread},
            }
        )
        with open(entry.path, encoding="utf-8") as file:
            found += [_event(line, process, thread) for line in file if line.endswith("\n")]
    return found


def _event(line: str, process: str, thread: str) -> dict[str, Any]:
    import json

    name, start, end = json.loads(line)
    return {
        "cat": f"task::{name}",
        "name": name,
        "pid": process,
        "tid": thread,
        "ts": start / 1000,
        "dur": (end - start) / 1000,
        "ph": "X",
        "cname": "generic_work",
        "args": {},
    }
