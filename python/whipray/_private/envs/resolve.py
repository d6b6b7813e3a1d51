"""In the process that submits: a checked runtime_env becomes one that any process can enter."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from whipray import _core
from whipray._private.envs import fields, package

KV_SPACE = "runtime_env"
"""Namespace of the session's key-value store in which pickled hooks lie."""
KV_PUT = 14


def resolved(checked: dict[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """`checked` with snapshots for paths and values for `${NAME}`, which are looked up in `known`
    and among the variables before.

    What only matters for making snapshots is left out.  The result can be written as JSON.
    """
    found = with_snapshots(str(_core.info()["session_dir"]), checked)
    if "env_vars" in found:
        found["env_vars"] = variables(found["env_vars"], known)
    if callable(found.get("worker_process_setup_hook")):
        found["worker_process_setup_hook"] = _exported(found["worker_process_setup_hook"])
    if "config" in found and not ("pip" in found or "uv" in found):
        del found["config"]
    return found


def with_snapshots(session_dir: str, checked: dict[str, Any]) -> dict[str, Any]:
    """`checked` with snapshots for the paths of directories and modules."""
    found = dict(checked)
    excludes = found.pop("excludes", [])
    if "working_dir" in found:
        found["working_dir"] = _directory(session_dir, found["working_dir"], excludes)
    if "py_modules" in found:
        found["py_modules"] = [_module(session_dir, path, excludes) for path in found["py_modules"]]
    return found


def text_of(runtime_env: dict[str, Any]) -> str:
    """The text that stands for a resolved environment; the same for equal ones."""
    return json.dumps(runtime_env, sort_keys=True)


def variables(wanted: dict[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """`wanted` with values for `${NAME}`, looked up in `known` and among the variables before."""
    seen = dict(known)
    for key, value in wanted.items():
        seen[key] = _expanded(value, seen)
    return {key: seen[key] for key in wanted}


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` become the variable's value; without one `${NAME}` is nothing."""

    def instead(match: re.Match[str]) -> str:
        name = match[1].strip("{}")
        absent = "" if re.fullmatch(r"\{[A-Z0-9_]+\}", match[1]) else match[0]
        return known.get(name, absent)

    return re.sub(r"\$(\w+|\{[^}]*\})", instead, value, flags=re.ASCII)


def _directory(session_dir: str, path: str, excludes: list[str]) -> str:
    if _is_snapshot(session_dir, path):
        return path
    if os.path.isdir(path):
        return package.of_directory(session_dir, path, excludes)
    return package.of_archive(session_dir, path)


def _module(session_dir: str, path: str, excludes: list[str]) -> str:
    """The directory to put on the import path for one entry of py_modules."""
    if _is_snapshot(session_dir, path):
        return path
    if os.path.isdir(path):
        return package.of_directory(session_dir, path, excludes, os.path.basename(path))
    if path.endswith(".whl"):
        return package.of_wheel(session_dir, path)
    if path.endswith(".py"):
        return package.of_file(session_dir, path)
    return package.of_archive(session_dir, path)


def _is_snapshot(session_dir: str, path: str) -> bool:
    """Given again by somebody who has read it from get_runtime_context()."""
    return os.path.dirname(path) == os.path.join(session_dir, package.FOLDER)


def _exported(function: Any) -> dict[str, str]:
    """Puts a pickled hook where every worker finds it."""
    import hashlib

    from whipray import cloudpickle
    from whipray.exceptions import RuntimeEnvSetupError

    try:
        payload = cloudpickle.dumps(function)
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to export the setup function: {error}") from error
    key = hashlib.sha1(payload, usedforsecurity=False).hexdigest()
    _core.rpc(KV_PUT, _core.pack([KV_SPACE, key.encode(), payload, True]))
    return {"name": getattr(function, "__name__", "hook"), "key": key}


def merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """See fields.merge; both are resolved."""
    return fields.merge(parent, child)
