"""What init finds out about this machine: cores, memory, the daemon, the address of a session."""

from __future__ import annotations

import os
import sys
from typing import Any

from whipray import _core
from whipray._private import gpus, options

STORE_SHARE = 0.3
"""Part of the machine's memory that the object store may take by default."""
SMALLEST_STORE = 16 << 20
NODE_IP = "127.0.0.1"
PREIMPORTED = ("numpy", "cloudpickle", "asyncio")
"""Imported by the fork server, after its first worker, when the driver has them."""


MOST_RESOURCES = 124
"""Names that `resources` of init may have: half of WR_MAX_RESOURCES, less the built-in ones."""


def config(
    num_cpus: float | None,
    num_gpus: float | None,
    resources: dict[str, float] | None,
    object_store_memory: int | None,
    memory_amount: float | None = None,
) -> dict[str, Any]:
    """The daemon's configuration; ValueError or TypeError for amounts that make no sense."""
    options.check_amount("num_cpus", num_cpus)
    options.check_amount("num_gpus", num_gpus)
    custom = _custom(resources)
    there = gpus.count(num_gpus)
    if there:
        custom["GPU"] = there
    custom.update({f"node:{NODE_IP}": 1.0, "node:__internal_head__": 1.0})
    memory = usable_memory()
    if memory_amount is not None:
        options.check_amount("_memory", memory_amount)
        custom["memory"] = float(memory_amount)
    custom.setdefault("memory", float(int(memory * (1 - STORE_SHARE)) >> 20 << 20))  # whole MiB
    return {
        "num_cpus": float(usable_cpus() if num_cpus is None else num_cpus),
        "resources": custom,
        "object_store_memory": _store_bytes(object_store_memory, memory),
        **job_config(),
    }


def job_config() -> dict[str, Any]:
    """The part about the workers of this driver, whether it starts a session or joins one."""
    cwd = _current_directory()
    return {
        "python": _file_name(sys.executable),
        "sys_path": [_file_name(entry or cwd) for entry in sys.path],
        "cwd": _file_name(cwd),
        "driver_pid": os.getpid(),
        "imports": [name for name in PREIMPORTED if name in sys.modules],
    }


def _file_name(name: str) -> str:
    """A text whose UTF-8 is what the system calls the file, in whatever encoding that is."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _current_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError(
            "the current directory has been removed, and workers run in that of the driver; "
            "change to one that exists before init()"
        ) from None


def spilling(given: dict[str, Any]) -> dict[str, Any]:
    """What init's arguments and the environment say about spilling; see _private/spilling.py."""
    if not given and not any("spilling" in name.lower() for name in os.environ):
        return {}
    from whipray._private import spilling

    return spilling.config(given)


def _custom(resources: dict[str, float] | None) -> dict[str, float]:
    if resources is None:
        return {}
    if not isinstance(resources, dict):
        raise TypeError(f"resources must be a dict of name -> amount, not {type(resources)}")
    if len(resources) > MOST_RESOURCES:
        raise ValueError(f"init() takes at most {MOST_RESOURCES} resources, not {len(resources)}")
    for name in ("CPU", "GPU"):
        if name in resources:
            raise ValueError(
                f"{name!r} must not stand in resources; use num_cpus and num_gpus instead."
            )
    for name, amount in resources.items():
        options.check_amount(options.resource_name(name), amount)
    return {name: float(amount) for name, amount in resources.items() if amount}


def _store_bytes(asked: int | None, memory: int) -> int:
    if asked is None:
        return max(SMALLEST_STORE, int(memory * STORE_SHARE))
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        raise TypeError(f"object_store_memory must be a number of bytes, not {asked!r}")
    if asked < SMALLEST_STORE:
        raise ValueError(
            f"object_store_memory={asked} is too small: at least {SMALLEST_STORE} bytes "
            f"({SMALLEST_STORE >> 20} MiB) are needed."
        )
    return int(asked)


def usable_cpus() -> int:
    """Cores this process may use: its affinity, cut by the quotas of its cgroups."""
    return _core.machine()[0]


def usable_memory() -> int:
    """Bytes of memory of the machine, or of the tightest cgroup that this process is in."""
    return _core.machine()[1]


def daemon_path() -> str:
    """The daemon of this installation; RuntimeError when it was not built."""
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin", "whiprayd")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"the daemon {path} is missing or not executable; build the package")
    return path


def address_from_environment() -> str | None:
    """WHIPRAY_ADDRESS or RAY_ADDRESS, if one of them is set."""
    variable = _address_variable()
    return os.environ[variable] if variable else None


def _address_variable() -> str:
    """Name of the variable of the environment that has an address, or ""."""
    return next((name for name in ("WHIPRAY_ADDRESS", "RAY_ADDRESS") if os.environ.get(name)), "")


def find_address(address: str | None) -> str | None:
    """Path of the socket to join, or None for a session of one's own.

    Without an address, that of the environment counts, else the session that `whipray start` has
    started last.  "auto" takes one that a driver has started, too, the newest of them, and insists:
    ConnectionError if there is no session.
    """
    wanted, source = address, ""
    if wanted in (None, "auto"):
        variable = _address_variable()
        wanted = os.environ.get(variable, wanted)
        source = variable and f" (the value of {variable} in the environment)"
    if wanted in (None, "auto"):
        return _last_started(wanted == "auto")
    if not isinstance(wanted, str):
        raise TypeError(f"address must be a string, not {wanted!r}")
    if wanted == "local":
        return None
    path = wanted.removeprefix("unix:")
    if path.startswith("/"):
        _look_for(path, source)
        return path
    raise ConnectionError(
        f"Can not connect to {wanted!r}{source}: only sessions of this machine can be joined, by "
        "address='unix:<path of the session's socket>'."
    )


def _look_for(socket: str, source: str) -> None:
    """ConnectionError if there is no such file, or none that this user may see."""
    try:
        os.stat(socket)
    except PermissionError:
        raise ConnectionError(
            f"the session at {socket}{source} belongs to another user, and only its own can join it"
        ) from None
    except (OSError, ValueError):
        raise ConnectionError(f"no session has its socket at {socket}{source}") from None


def _last_started(insist: bool) -> str | None:
    from whipray._private import discovery

    found = discovery.last_started() or (discovery.newest() if insist else None)
    if found is not None:
        return discovery.socket_of(found)
    if insist:
        raise ConnectionError(
            "Could not find any running session. Start one with `whipray start --head` or init(), "
            "or name its address."
        )
    return None
