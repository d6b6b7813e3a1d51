"""Small helpers."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
from typing import Any


def env_bool(key: str, default: bool) -> bool:
    """The variable as a truth value."""
    value = os.environ.get(key)
    return default if value is None else value.lower() in ("1", "true")


def env_integer(key: str, default: int) -> int:
    """The variable as a number."""
    return int(os.environ.get(key) or default)


def env_float(key: str, default: float) -> float:
    """The variable as a number."""
    return float(os.environ.get(key) or default)


def load_class(path: str) -> Any:
    """What `module.name` names."""
    module, dot, name = path.rpartition(".")
    if not dot:
        raise ValueError(f"{path!r} is not of the form module.name")
    return getattr(importlib.import_module(module), name)


import_attr = load_class


def get_or_create_event_loop() -> asyncio.AbstractEventLoop:
    """The running loop, or else a new one, which becomes the thread's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


def binary_to_hex(identifier: bytes) -> str:
    """The bytes as text."""
    return identifier.hex()


def hex_to_binary(hex_identifier: str) -> bytes:
    """The bytes of the text."""
    return bytes.fromhex(hex_identifier)


def try_to_create_directory(directory_path: str) -> None:
    """Make a folder with its parents, unless it is there."""
    os.makedirs(os.path.expanduser(directory_path), exist_ok=True)


def get_default_system_temp_dir() -> str:
    """The machine's folder for temporary files."""
    return tempfile.gettempdir()
