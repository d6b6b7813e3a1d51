"""Find processes, open files and shared mappings that a block of code left behind.

A process counts as started by the block when it descends from this process, or when its
environment carries a token that is set for the length of the block.  The token finds daemons that
have left their parent, and it does not find those of other programs on the same machine.  Two
blocks may be nested; two threads must not run such blocks at the same time.
"""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "WHIPRAY_LEAK_TOKEN"
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Leaks:
    """What was left behind; false when there is nothing.

    `processes` are lines "pid name: command", `files` are targets of /proc/self/fd such as
    "socket:[123]" or a path, `mappings` are names of shared memory files that are still mapped.
    """

    processes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.files or self.mappings)

    def __str__(self) -> str:
        groups = (
            ("process", self.processes),
            ("open file", self.files),
            ("shared mapping", self.mappings),
        )
        return "\n".join(f"leaked {kind}: {item}" for kind, items in groups for item in items)


@contextmanager
def assert_no_leaks(
    *,
    timeout: float = 5.0,
    processes: bool = True,
    files: bool = True,
    mappings: bool = False,
) -> Iterator[None]:
    """Fail if the block leaves anything behind that was not there before it.

    Args:
        timeout: seconds that the end of a process, or the closing of a file, may still take after
            the block.  The check returns as soon as nothing is left.
        processes: look for processes that the block started and that still run, zombies included.
        files: look for file descriptors of this process that the block opened.
        mappings: look for shared anonymous files (memfd) that this process still maps.  Views of
            objects that outlive the block keep the memory they show mapped, hence off by default.

    Raises:
        AssertionError: naming every process, file and mapping.  An exception from the block itself
            passes through unchanged, and nothing is checked then.

    Example:
        >>> with assert_no_leaks():
        ...     whipray.init()
        ...     whipray.get(work.remote())
        ...     whipray.shutdown()
    """
    outer = os.environ.get(TOKEN_VARIABLE)
    token = f"{outer or ''}/{uuid.uuid4().hex}"
    before = _Snapshot.take(token)
    os.environ[TOKEN_VARIABLE] = token
    try:
        yield
    finally:
        _restore_environment(outer)
    gc.collect()
    leaks = _settle(lambda: before.leaks(token, processes, files, mappings), timeout)
    if leaks:
        raise AssertionError(f"still there {timeout:g} s after the block:\n{leaks}")


@dataclass(frozen=True)
class _Snapshot:
    """Processes as (pid, start time), open files and mappings, at one moment."""

    processes: frozenset[tuple[int, int]]
    files: Counter[str]
    mappings: frozenset[str]

    @classmethod
    def take(cls, token: str) -> _Snapshot:
        return cls(frozenset(_started_processes(token)), _open_files(), _shared_mappings())

    def leaks(self, token: str, processes: bool, files: bool, mappings: bool) -> Leaks:
        """What exists now and did not exist when the snapshot was taken."""
        left = _started_processes(token) - self.processes if processes else set()
        opened = _open_files() - self.files if files else Counter[str]()
        mapped = _shared_mappings() - self.mappings if mappings else frozenset[str]()
        return Leaks(
            processes=tuple(_describe(pid) for pid, _ in sorted(left)),
            files=tuple(sorted(opened.elements())),
            mappings=tuple(sorted(mapped)),
        )


def _settle(look: Callable[[], Leaks], timeout: float) -> Leaks:
    """Look until nothing is left or the time is over; returns what was seen last."""
    deadline = time.monotonic() + timeout
    leaks = look()
    while leaks and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        leaks = look()
    return leaks


def _restore_environment(outer: str | None) -> None:
    if outer is None:
        os.environ.pop(TOKEN_VARIABLE, None)
    else:
        os.environ[TOKEN_VARIABLE] = outer


def _started_processes(token: str) -> set[tuple[int, int]]:
    """Descendants of this process, and processes whose environment carries the token."""
    table = _process_table()
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    return {
        (pid, started)
        for pid, (_, started) in table.items()
        if pid != os.getpid() and (_descends_from_self(pid, table) or mark in _environment(pid))
    }


def _process_table() -> dict[int, tuple[int, int]]:
    """Parent and start time, in clock ticks after boot, of every visible process."""
    table: dict[int, tuple[int, int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text(errors="replace")
        except OSError:
            continue  # it ended between the listing and the reading
        fields = stat.rpartition(")")[2].split()
        table[int(entry)] = (int(fields[1]), int(fields[19]))
    return table


def _descends_from_self(pid: int, table: dict[int, tuple[int, int]]) -> bool:
    seen: set[int] = set()
    while pid in table and pid not in seen:
        seen.add(pid)
        pid = table[pid][0]
        if pid == os.getpid():
            return True
    return False


def _environment(pid: int) -> bytes:
    """The environment a process was started with; empty for those of other users and zombies."""
    try:
        return Path("/proc", str(pid), "environ").read_bytes()
    except OSError:
        return b""


def _describe(pid: int) -> str:
    try:
        name = Path("/proc", str(pid), "comm").read_text(errors="replace").strip()
        raw = Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return f"{pid} (ended while it was looked at)"
    command = raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{pid} {name}: {command or '(zombie or no command line)'}"


def _open_files() -> Counter[str]:
    """Targets of this process's file descriptors, each as often as it is open."""
    targets: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            targets[os.readlink(f"/proc/self/fd/{number}")] += 1
        except OSError:
            continue  # the descriptor of the listing itself
    return targets


def _shared_mappings() -> frozenset[str]:
    """Name and inode of every memfd that this process maps."""
    found: set[str] = set()
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/memfd:"):
            found.add(f"{fields[5]} inode {fields[4]}")
    return frozenset(found)
