"""`ray._private.utils`."""

from __future__ import annotations

import threading

INT32_MAX = 2**31 - 1


def read_ray_address(temp_dir: str | None = None) -> str:
    """The address of a running session, "" if there is none to join."""
    from whipray._private import machine

    try:
        return machine.find_address("auto") or ""
    except ConnectionError:
        return ""


def get_num_cpus(override_docker_cpu_warning: bool = False, truncate: bool = True) -> int:
    """Cores that this process may use."""
    from whipray._private import machine

    return machine.usable_cpus()


def get_ray_doc_version() -> str:
    """The version to name in links to Ray's manual."""
    return "latest"


def is_main_thread() -> bool:
    """Whether the caller runs in the main thread."""
    return threading.current_thread() is threading.main_thread()


def binary_to_hex(identifier: bytes) -> str:
    """The bytes as text."""
    return identifier.hex()


def hex_to_binary(hex_identifier: str) -> bytes:
    """The bytes of the text."""
    return bytes.fromhex(hex_identifier)
