"""The processes of one side, found and measured through /proc.

Every process that a side starts inherits an environment variable with a value of its own, so
that daemons which have left the process tree are found as well.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "WHIPRAY_BENCH_MARK"
PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Bytes of one process: private to it, and its proportional share of everything mapped."""

    private: int
    pss: int


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the command: state, parent, ..."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = _stat_fields(int(entry.name))
            except OSError:
                continue
            if fields[0] not in "ZX":
                parents[int(entry.name)] = int(fields[1])
    return parents


def _is_marked(pid: int, mark: str) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def pids_of(mark: str, root: int | None = None) -> set[int]:
    """Live processes that carry the mark, with their descendants and those of ``root``."""
    parents = _parents()
    found = {pid for pid in parents if pid == root or _is_marked(pid, mark)}
    grew = True
    while grew:
        children = {pid for pid, parent in parents.items() if parent in found}
        grew = not children <= found
        found |= children
    return found


def session_pids() -> set[int]:
    """The processes of the side that calls this, itself included."""
    return pids_of(os.environ.get(MARK, ""), os.getpid())


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that the processes have used since they started.

    The scheduler's own account is exact to nanoseconds; /proc/<pid>/stat, which counts ticks of
    10 ms, stands in where the kernel does not keep it.
    """
    total = 0.0
    for pid in pids:
        try:
            total += _exact_cpu(pid) or _ticks_cpu(pid)
        except OSError:
            continue
    return total


def _exact_cpu(pid: int) -> float:
    try:
        files = list((PROC / str(pid) / "task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9
    except (OSError, IndexError):
        return 0.0


def _ticks_cpu(pid: int) -> float:
    fields = _stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> Memory:
    """Private and proportional memory of one process, from smaps_rollup."""
    private = pss = 0
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Private_Clean", "Private_Dirty"):
            private += int(rest.split()[0]) * 1024
        elif name == "Pss":
            pss = int(rest.split()[0]) * 1024
    return Memory(private, pss)


def total_pss(pids: Iterable[int]) -> int:
    """Memory of the processes together, each shared page counted once among them."""
    total = 0
    for pid in pids:
        try:
            total += memory(pid).pss
        except OSError:
            continue
    return total


def wait_until_gone(mark: str, seconds: float) -> set[int]:
    """Wait for the processes with the mark to end; returns those still alive."""
    deadline = time.monotonic() + seconds
    while (left := pids_of(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def end(mark: str) -> None:
    """Kill every process that carries the mark; a pid reused by another is never hit."""
    for pid in pids_of(mark):
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if _is_marked(pid, mark):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            os.close(handle)
