"""In a worker: the directory, the import path and the hook of its runtime environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from whipray._private.envs import named, resolve

KEY = "WHIPRAY_TASK_ENV"
"""Variable of a worker: the resolved environment of its pool as JSON, inherited by what it
submits; "" when it has none."""
JOB_KEY = "WHIPRAY_JOB_ENV"
"""Variable of a worker: the job's runtime_env as JSON, for those who ask for it; "" for none."""
KV_GET = 15


class SetupFailed(Exception):
    """The environment could not be set up; the text says why."""


def own() -> dict[str, Any]:
    """The environment of the pool that this worker belongs to."""
    return _read(KEY)


def of_job() -> dict[str, Any]:
    """The environment that was given to init."""
    return _read(JOB_KEY)


def _read(key: str) -> dict[str, Any]:
    text = os.environ.get(key)
    return dict(json.loads(text)) if text else {}


def apply(runtime_env: dict[str, Any]) -> None:
    """Give this process its environment, once it is attached; SetupFailed if that fails."""
    if not runtime_env:
        return
    front = []
    working_dir = runtime_env.get("working_dir")
    if working_dir:
        try:
            os.chdir(working_dir)
        except OSError as error:
            raise SetupFailed(f"working_dir: {error}") from None
        front.append(working_dir)
    front += runtime_env.get("py_modules", [])
    python_path = runtime_env.get("env_vars", {}).get("PYTHONPATH", "")
    front += [entry for entry in python_path.split(os.pathsep) if entry]
    sys.path[:0] = [entry for entry in front if entry not in sys.path]
    hook = runtime_env.get("worker_process_setup_hook")
    if hook:
        _run_hook(hook)


def _run_hook(hook: str | dict[str, str]) -> None:
    name = hook if isinstance(hook, str) else hook["name"]
    try:
        function = named.function(hook) if isinstance(hook, str) else _by_key(hook["key"])
        function()
    except Exception:
        import traceback

        raise SetupFailed(
            f"Failed to execute the setup hook method, {name}:\n{traceback.format_exc()}"
        ) from None


def _by_key(key: str) -> Any:
    from whipray import _core, cloudpickle

    found = _core.unpack(_core.rpc(KV_GET, _core.pack([resolve.KV_SPACE, key.encode()])))
    return cloudpickle.loads(found[0])
