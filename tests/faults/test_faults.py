"""Every system call and every allocation fails once, and for good: errors, no crash, no hang, and
nothing stays behind.  See sweep.py for what is tried and operations.py for what is done.

`make test` tries a sample; `make faults` (WHIPRAY_FAULTS=all) tries each call in each way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import operations

ROOT = Path(__file__).resolve().parents[2]
ALL = os.environ.get("WHIPRAY_FAULTS") == "all"
PARTS = 4
"""A full sweep over a life is done in so many processes."""

# Operation, role, kind, first call, step, ways.
SAMPLE = (
    ("session", "driver", "calls", 2, 29, 1),
    ("session", "driver", "memory", 2, 9, 1),
    ("task", "driver", "python", 2, 9, 1),
    ("put_large", "driver", "memory", 1, 1, 1),
    ("life", "daemon", "calls", 60, 401, 1),
    ("life", "forker", "calls", 1, 97, 1),
    ("life", "daemon", "memory", 68, 401, 1),
    ("life", "worker", "calls", 5, 31, 1),
)


def full() -> list[tuple[str, str, str, int, int, int]]:
    """All calls of everybody, in all ways."""
    names = [operation.__name__ for operation in operations.DRIVER + operations.OPEN]
    found = [(name, "driver", "calls", 1, 1, 4) for name in names]
    found += [(name, "driver", kind, 1, 1, 1) for name in names for kind in ("memory", "python")]
    for role in ("daemon", "forker", "worker"):
        for part in range(1, PARTS + 1):
            found.append(("life", role, "calls", part, PARTS, 3))
            found.append(("life", role, "memory", part, PARTS, 1))
    return found


@pytest.fixture(scope="session")
def interposer() -> Path:
    """The library that stands in front of the C library, compiled."""
    made = "build/faults/tests/faults/interpose.so"
    subprocess.run(
        ["make", "--no-print-directory", "-f", "tools/native.mk", "OBJ=build/faults", made],
        cwd=ROOT,
        check=True,
    )
    return ROOT / made


def test_handlers_of_signals_make_calls_while_others_fail(interposer: Path, tmp_path: Path) -> None:
    """The interposer itself must not hang: it would look like a daemon that does not answer."""
    program = tmp_path / "whiprayd"
    source = ROOT / "tests/faults/signals.c"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O1", "-o", str(program), str(source)], check=True)
    fault = {
        "WHIPRAY_FAULT": "daemon:calls:1:0:1",
        "WHIPRAY_FAULT_REPORT": "/dev/null",
        "LD_PRELOAD": str(interposer),
    }
    subprocess.run([str(program), "3000"], env={**os.environ, **fault}, check=True, timeout=300)


def name_of(case: tuple[str, str, str, int, int, int]) -> str:
    return "-".join(map(str, case))


@pytest.mark.parametrize("case", full() if ALL else SAMPLE, ids=name_of)
def test_each_call_fails(case: tuple[str, str, str, int, int, int], interposer: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.sweep", *map(str, case)],
        env={**os.environ, "LD_PRELOAD": str(interposer)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    last = output.strip().rsplit("\n", 1)[-1]
    assert process.returncode == 0 and last.startswith("done "), output[-6000:]
    assert int(last.split()[1]) >= 2
