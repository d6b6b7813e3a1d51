# mypy: disable-error-code="untyped-decorator, attr-defined"
"""What runs under callgrind: a driver that joins a session, and the calls it gives to a worker.

No step that is counted waits for another process, since waiting costs as many instructions as it
takes time. The worker is held while the driver submits, and has everything queued when it is let
go; the driver gets results only after the last of them is there.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = "WHIPRAY_BENCH_MARKS"
"""The environment variable with the path of the compiled c/lib/marks.c."""
INTERPRETER = "WHIPRAY_BENCH_COUNTED_PYTHON"
"""The environment variable with the command that runs workers under callgrind."""
COUNTS = (1000, 2000)
POLL_SECONDS = 0.005


class Marks:
    """The marks of this process: each ends a part, which gets its label."""

    def __init__(self) -> None:
        self._library = ctypes.PyDLL(os.environ[LIBRARY])
        self._library.bench_mark.argtypes = [ctypes.c_char_p]
        self._library.bench_begin()

    def mark(self, label: str) -> None:
        self._library.bench_mark(label.encode())

    @contextmanager
    def part(self, label: str) -> Iterator[None]:
        """Count the body under the label."""
        self.mark("between")
        yield
        self.mark(label)


def wait_for(path: str) -> None:
    """Return when the file exists."""
    while not os.path.exists(path):
        time.sleep(POLL_SECONDS)


def hold(path: str) -> None:
    """In the worker: wait until the file exists; a part begins after it."""
    marks = Marks()
    wait_for(path)
    marks.mark("between")


def close(label: str, path: str) -> None:
    """In the worker: end the part, and say so with a file, which costs the driver nothing."""
    Marks().mark(label)
    Path(path).touch()


@dataclass(frozen=True)
class Calls:
    """Three calls that one worker runs in order: hold it, the no-op to count, end the part."""

    name: str
    hold: Any
    noop: Any
    close: Any


def task_calls(ray: Any) -> Calls:
    @ray.remote
    def noop() -> bytes:
        return b"ok"

    return Calls("task", ray.remote(hold).remote, noop.remote, ray.remote(close).remote)


def actor_calls(ray: Any) -> Calls:
    @ray.remote(num_cpus=0)
    class Plain:
        def noop(self) -> bytes:
            return b"ok"

        def hold(self, path: str) -> None:
            hold(path)

        def close(self, label: str, path: str) -> None:
            close(label, path)

    actor = Plain.remote()
    return Calls("actor call", actor.hold.remote, actor.noop.remote, actor.close.remote)


def get_all(marks: Marks, label: str, get: Any, refs: list[Any]) -> None:
    """Get the refs one by one; the results are dropped."""
    with marks.part(label):
        for ref in refs:
            get(ref)


def overwrite(marks: Marks, label: str, cells: list[Any]) -> None:
    """Drop what the cells hold, one by one."""
    order = list(range(len(cells)))
    with marks.part(label):
        for at in order:
            cells[at] = None


def count_calls(ray: Any, marks: Marks, calls: Calls, count: int) -> None:
    """Submit, run, get and drop, each of them for all calls before the next."""
    cells: list[Any] = [None] * count
    order, noop = list(range(count)), calls.noop
    with tempfile.TemporaryDirectory(prefix="wrb-") as home:
        let_go, closed = f"{home}/let-go", f"{home}/closed"
        held = calls.hold(let_go)
        with marks.part(f"{calls.name} submit/{count}"):
            for at in order:
                cells[at] = noop()
        last = calls.close(f"{calls.name} run/{count}", closed)
        Path(let_go).touch()
        wait_for(closed)
        ray.get([held, last])
    get_all(marks, f"{calls.name} get/{count}", ray.get, cells)
    overwrite(marks, f"{calls.name} drop/{count}", cells)


def count_puts(ray: Any, marks: Marks, count: int) -> None:
    """Put, get and drop small ints."""
    cells: list[Any] = [None] * count
    order, put = list(range(count)), ray.put
    with marks.part(f"put/{count}"):
        for at in order:
            cells[at] = put(7)
    get_all(marks, f"get/{count}", ray.get, cells)
    overwrite(marks, f"drop/{count}", cells)


def count_loops(marks: Marks, count: int) -> None:
    """The loops around the calls, which the counts are freed of."""
    cells = [None] * count
    overwrite(marks, f"filling loop/{count}", cells)
    with marks.part(f"getting loop/{count}"):
        for _ in cells:
            pass


def main() -> int:
    address = sys.argv[1]
    sys.executable = os.environ[INTERPRETER]  # which the daemon starts for the workers
    import whipray as ray

    ray.init(address)
    marks = Marks()
    gc.disable()  # what a collection costs depends on everything else that is alive
    tasks, actor = task_calls(ray), actor_calls(ray)
    for count in (max(COUNTS), *COUNTS):  # the first round finds everything cold; a later one wins
        count_calls(ray, marks, tasks, count)
        count_calls(ray, marks, actor, count)
        count_puts(ray, marks, count)
        count_loops(marks, count)
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
