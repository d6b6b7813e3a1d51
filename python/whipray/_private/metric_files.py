"""The numbers of metrics, in two files of each process in the session's directory.

`<slot>-<generation>.values` is an array of float64 that the process has mapped: a change is one
store into memory that outlives the process, however it ends.  `.index` has a line of JSON for each
sample: what it belongs to and where in the array its numbers lie; the numbers are there before the
line is, and a line without its end is none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import warnings
from collections.abc import Iterator
from typing import Any

FOLDER = "metrics"
FIRST_BYTES = 4096
ITEM = 8


class Numbers:
    """The files of this process; for one thread at a time.

    When the disk is full, or no file can be opened, the program goes on with numbers that nobody
    else will see.
    """

    def __init__(self, session_dir: str, name: str) -> None:
        self._fds: list[int] = []
        self._used = 0
        self.values = memoryview(b"").cast("d")
        try:
            self._open(os.path.join(session_dir, FOLDER), name)
        except OSError as error:
            self._give_up(error)

    def _open(self, folder: str, name: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        for kind, more in (("values", 0), ("index", os.O_APPEND)):
            path = os.path.join(folder, f"{name}.{kind}")
            self._fds.append(os.open(path, flags | more, 0o600))

    def add(self, facts: dict[str, Any], count: int) -> int:
        """Place for `count` numbers of a new sample, which are 0."""
        at = self._used
        self._used += count
        if self._used > len(self.values):
            self._grow()
        line = json.dumps({**facts, "at": at, "count": count})
        try:
            self._append(f"{line}\n".encode())
        except OSError as error:
            self._give_up(error)
        return at

    def _append(self, line: bytes) -> None:
        if self._fds and os.write(self._fds[1], line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _grow(self) -> None:
        size = max(FIRST_BYTES, 2 * ITEM * self._used)
        try:
            mapped = self._map(size)
        except OSError as error:
            self._give_up(error)
            mapped = self._map(size)
        old, self.values = self.values, memoryview(mapped).cast("d")
        self.values[: len(old)] = old

    def _map(self, size: int) -> mmap.mmap:
        if not self._fds:
            return mmap.mmap(-1, size)
        os.posix_fallocate(self._fds[0], 0, size)  # a page that is missing would be a SIGBUS
        return mmap.mmap(self._fds[0], size)

    def _give_up(self, error: OSError) -> None:
        """What the files hold so far stays; a line that is not whole must remain the last."""
        self.close()
        warnings.warn(f"metrics of this process are not kept: {error}", stacklevel=2)

    def close(self) -> None:
        """Let go of the files."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def read(session_dir: str) -> Iterator[tuple[str, dict[str, Any], list[float]]]:
    """(name of the process, facts, numbers) of all samples of the session."""
    folder = os.path.join(session_dir, FOLDER)
    if not os.path.isdir(folder):
        return
    for file_name in sorted(os.listdir(folder)):
        name, _, kind = file_name.rpartition(".")
        if kind == "index":
            yield from _samples(name, os.path.join(folder, name))


def _samples(name: str, path: str) -> Iterator[tuple[str, dict[str, Any], list[float]]]:
    with open(f"{path}.index", "rb") as index:
        lines = [line for line in index.read().split(b"\n")[:-1] if line]
    with open(f"{path}.values", "rb") as file:
        data = file.read()
    values = memoryview(data[: len(data) // ITEM * ITEM]).cast("d")
    for line in lines:
        facts = json.loads(line)
        at, count = facts.pop("at"), facts.pop("count")
        if at + count <= len(values):
            yield name, facts, [float(value) for value in values[at : at + count]]
