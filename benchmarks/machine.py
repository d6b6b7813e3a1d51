"""Which machine, kernel and revision a result belongs to."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def _first(path: str, start: str) -> str:
    """The value of the first line of a /proc file that starts with the word."""
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(start):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def identity() -> dict[str, Any]:
    """Facts that a reader needs before comparing two results."""
    memory = _first("/proc/meminfo", "MemTotal").split()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "cpu": _first("/proc/cpuinfo", "model name"),
        "hypervisor": "hypervisor" in _first("/proc/cpuinfo", "flags").split(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[0]) / 1024**2, 1) if memory[0].isdigit() else None,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "huge_pages_shared": _read("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        "load_at_start": list(os.getloadavg()),
        "revision": _git("rev-parse", "HEAD") or "unknown",
        "modified": bool(_git("status", "--porcelain")),
    }
