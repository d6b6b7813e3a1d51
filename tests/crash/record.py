"""What a long run costs: memory, descriptors, processes and threads, after each of its rounds.

WHIPRAY_SOAK_RECORD=soak.jsonl  where a line for each round goes
python -m tests.crash.record soak.jsonl   first, last, most, and the slope per hour
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from pathlib import Path

from whipray import _core

PAGE = os.sysconf("SC_PAGE_SIZE")


def of_process(name: str, pid: int) -> dict[str, float]:
    """Memory in bytes, that of the segment left out; descriptors and threads."""
    root = Path(f"/proc/{pid}")
    resident, shared = (int(n) for n in (root / "statm").read_text().split()[1:3])
    return {
        f"{name}_bytes": (resident - shared) * PAGE,
        f"{name}_fds": len(list((root / "fd").iterdir())),
        f"{name}_threads": len(list((root / "task").iterdir())),
    }


class Mallinfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]


MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None)  # only glibc has it
if MALLINFO:
    MALLINFO.restype = Mallinfo
clear_caches = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def in_use() -> dict[str, float]:
    """What this process has asked its allocators for and has not given back: it grows when
    something is kept, and not with the gaps between what is free.

    What Python keeps for later is left out: the names under which methods have been looked up, up
    to 4096 of them, and thousands of tuples that are free."""
    clear_caches()
    gc.collect()
    figures: dict[str, float] = {"driver_blocks": sys.getallocatedblocks()}
    if MALLINFO:
        found = MALLINFO()
        figures["driver_malloc"] = found.field_7 + found.field_4  # uordblks, hblkhd
    return figures


class Record:
    """Writes a line for each round; without WHIPRAY_SOAK_RECORD it does nothing."""

    def __init__(self) -> None:
        path = os.environ.get("WHIPRAY_SOAK_RECORD")
        self.file = open(path, "a", buffering=1) if path else None
        self.began = time.monotonic()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()

    def add(self, **figures: float) -> None:
        if not self.file:
            return
        stats = _core.stats()
        row = {
            "seconds": time.monotonic() - self.began,
            **figures,
            **of_process("driver", os.getpid()),
            **in_use(),
            **of_process("daemon", _core.info()["daemon_pid"]),
            **{name: stats[name] for name in ("sweeps", "record_bytes", "store_used")},
            "processes": len(_core.procs()),
        }
        print(json.dumps(row), file=self.file)


def slope(xs: list[float], ys: list[float]) -> float:
    """Of the line with the least squares."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    across = sum((a - x) ** 2 for a in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / across if across else 0.0


def main(path: str) -> None:
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    hours = [row["seconds"] / 3600 for row in rows]
    print(f"{len(rows)} rounds in {hours[-1]:.2f} hours; the slope is of the second half")
    half = len(rows) // 2
    for name in rows[0]:
        values = [row[name] for row in rows]
        per_hour = slope(hours[half:], values[half:])
        print(
            f"{name:<16} first {values[0]:14.1f}  last {values[-1]:14.1f}  "
            f"most {max(values):14.1f}  per hour {per_hour:+14.1f}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
