"""The numbers of metrics, in two files of each process in the session's directory.

`<slot>-<generation>.values` is an array of float64 that the process has mapped: a change is one
store into memory that outlives the process, however it ends.  `.index` has a line of JSON for each
sample: what it belongs to and where in the array its numbers lie; the numbers are there before the
line is, and a line without its end is none.
"""

from __future__ import annotations

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
    """The files of this process; for one thread at a time."""

    def __init__(self, session_dir: str, name: str) -> None:
        folder = os.path.join(session_dir, FOLDER)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        path = os.path.join(folder, name)
        self._fd = os.open(f"{path}.values", flags, 0o600)
        self._index = os.open(f"{path}.index", flags | os.O_APPEND, 0o600)
        self._used = 0
        self.values = memoryview(b"").cast("d")

    def add(self, facts: dict[str, Any], count: int) -> int:
        """Place for `count` numbers of a new sample, which are 0."""
        at = self._used
        self._used += count
        if self._used > len(self.values):
            self._grow()
        line = json.dumps({**facts, "at": at, "count": count})
        os.write(self._index, f"{line}\n".encode())
        return at

    def _grow(self) -> None:
        size = max(FIRST_BYTES, 2 * ITEM * self._used)
        try:
            os.posix_fallocate(self._fd, 0, size)  # a page that is missing would be a SIGBUS
            mapped = mmap.mmap(self._fd, size)
        except OSError as error:
            warnings.warn(f"metrics of this process are not kept: {error}", stacklevel=2)
            mapped = mmap.mmap(-1, size)
        old, self.values = self.values, memoryview(mapped).cast("d")
        self.values[: len(old)] = old

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._fd)
        os.close(self._index)


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
