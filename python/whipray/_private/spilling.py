"""Where values go that find no room in the store: what init() and the environment say about it."""

from __future__ import annotations

import json
import os
from typing import Any

DIRECTORIES = ("WHIPRAY_OBJECT_SPILLING_DIRECTORY", "RAY_object_spilling_directory")
CONFIGS = ("WHIPRAY_OBJECT_SPILLING_CONFIG", "RAY_object_spilling_config")
SWITCH = "RAY_automatic_object_spilling_enabled"


def config(given: dict[str, Any]) -> dict[str, Any]:
    """The daemon's part about spilling, made from init's keyword arguments and the environment.

    The first of these counts: object_spilling_directory, the same in _system_config, in the
    environment, then object_spilling_config in _system_config and in the environment, a JSON object
    {"type": "filesystem", "params": {"directory_path": ...}}.  ValueError or OSError for what can
    not be used.
    """
    system = given.get("_system_config") or {}
    if not _enabled(system):
        return {"spill": False}
    directory = (
        given.get("object_spilling_directory")
        or given.get("_object_spilling_directory")
        or system.get("object_spilling_directory")
        or _first(DIRECTORIES)
    )
    if not directory:
        described = system.get("object_spilling_config") or _first(CONFIGS)
        directory = _of_config(described) if described else None
    return {"spill_dir": _usable(directory)} if directory else {}


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _enabled(system: dict[str, Any]) -> bool:
    if "automatic_object_spilling_enabled" in system:
        return bool(system["automatic_object_spilling_enabled"])
    return os.environ.get(SWITCH, "1").lower() not in ("0", "false")


def _of_config(described: Any) -> str:
    """The directory in an object_spilling_config."""
    parsed = json.loads(described) if isinstance(described, str) else described
    if not isinstance(parsed, dict) or "type" not in parsed:
        raise ValueError(f'object_spilling_config needs a "type": {described!r}')
    if parsed["type"] == "smart_open":
        raise NotImplementedError(
            'object_spilling_config of type "smart_open" is not supported; use "filesystem"'
        )
    if parsed["type"] != "filesystem":
        raise ValueError(f"Unknown external storage type: {parsed['type']}")
    path = (parsed.get("params") or {}).get("directory_path")
    if isinstance(path, list) and len(path) > 1:
        raise NotImplementedError(
            "object_spilling_config with several directories is not supported; name one"
        )
    if isinstance(path, list) and path:
        path = path[0]
    if not isinstance(path, str) or not path:
        raise ValueError(
            f'object_spilling_config needs a "directory_path" in its "params": {described!r}'
        )
    return path


def _usable(directory: Any) -> str:
    """The directory as an absolute path; it is there and can be written to."""
    if not isinstance(directory, str | os.PathLike):
        raise TypeError(f"object_spilling_directory must be a path, not {directory!r}")
    path = os.path.abspath(os.fspath(directory))
    os.makedirs(path, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"objects cannot be spilled to {path}: it is not writable")
    if len(path) > 100:
        raise ValueError(f"object_spilling_directory is longer than 100 bytes: {path}")
    return path
