"""Instructions per call of the paths that every program takes, counted by valgrind's callgrind.

A count does not depend on what else the machine does: two runs differ by less than 1 %, so a
change of the engine that costs 5 % shows in a single run. The kernel's instructions are not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from benchmarks import cbuild, machine, procs
from benchmarks.instructions_side import COUNTS, INTERPRETER, LIBRARY

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded" / "instructions.json"
MARKS = cbuild.HERE / "lib" / "marks.c"
TOLERANCE = 0.05
SECONDS = 120

Counts = dict[str, float]

OPERATIONS: dict[str, tuple[str, str]] = {
    "task submit": ("filling loop", "driver: noop.remote(), the worker busy"),
    "task run": ("", "worker: take, decode, call, store the result, finish"),
    "task get": ("getting loop", "driver: get of the result, which is there"),
    "task drop": ("filling loop", "driver: the last ref to the result goes"),
    "actor call submit": ("filling loop", "driver: actor.noop.remote(), the actor busy"),
    "actor call run": ("", "actor: the same steps as a task"),
    "actor call get": ("getting loop", "driver: get of the result, which is there"),
    "actor call drop": ("filling loop", "driver: the last ref to the result goes"),
    "put": ("filling loop", "put of a small int"),
    "get": ("getting loop", "get of a small int that was put"),
    "drop": ("filling loop", "the last ref to it goes"),
}
"""What is counted: the loop to take off, and what the count consists of."""

NEEDS_VALGRIND = (
    "instructions are counted with valgrind, which is not installed here "
    "(Debian, Ubuntu: apt-get install valgrind)"
)


class CannotCount(Exception):
    """There are no counts; the text says why."""


# ---- counting -----------------------------------------------------------------------------------


def measure() -> tuple[Counts, Path]:
    """Instructions per call of every operation, and the extension module that was counted."""
    if not shutil.which("valgrind"):
        raise CannotCount(NEEDS_VALGRIND)
    try:
        marks = cbuild.build(MARKS)
    except cbuild.CannotBuild as reason:
        raise CannotCount(f"{reason}\n{NEEDS_VALGRIND}") from None
    with tempfile.TemporaryDirectory(prefix="wrb-") as name:
        home = Path(name)
        extension = _run_session(home, marks)
        parts = read_parts(home)
    absent = [label for label in _labels() if label not in parts]
    if absent:
        raise CannotCount(f"callgrind wrote no count of: {', '.join(absent)}")
    return per_call(parts), extension


def _labels() -> list[str]:
    names = {*OPERATIONS, *(loop for loop, _ in OPERATIONS.values() if loop)}
    return [f"{name}/{count}" for name in sorted(names) for count in COUNTS]


def _run_session(home: Path, marks: Path) -> Path:
    """A session of this process, joined by a driver under callgrind with workers of its own.

    The daemon stays outside of valgrind, which does not know all of its system calls.
    """
    counted = _counted_python(home)
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [*filter(None, [os.environ.get("PYTHONPATH")]), *_own_paths()]
        ),
        "PYTHONHASHSEED": "0",
        LIBRARY: str(marks),
        INTERPRETER: str(counted),
        procs.MARK: mark,
    }
    command = [sys.executable, "-c", HOST, str(counted)]
    try:
        done = subprocess.run(
            command, env=environment, cwd=home, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CannotCount(f"the session under callgrind took more than {SECONDS} s") from None
    finally:
        procs.wait_until_gone(mark, 5.0)
        procs.end(mark)
    if done.returncode:
        raise CannotCount(f"the session under callgrind failed:\n{done.stderr.strip()[-2000:]}")
    return Path(done.stdout.splitlines()[0])


HOST = """
import subprocess, sys
import whipray
print(whipray._core.__file__, flush=True)
address = whipray.init(num_cpus=1).address_info["address"]
done = subprocess.run([sys.argv[1], "-m", "benchmarks.instructions_side", address])
whipray.shutdown()
sys.exit(done.returncode)
"""


def _own_paths() -> list[str]:
    return [str(machine.REPOSITORY), str(machine.REPOSITORY / "python")]


def _counted_python(home: Path) -> Path:
    """A command that stands for the interpreter and runs it under callgrind."""
    script = home / "python"
    script.write_text(
        "#!/bin/sh\n"
        "exec valgrind --tool=callgrind --vgdb=no --instr-atstart=no --separate-threads=yes "
        f"--log-file='{home}/valgrind.log.%p' --callgrind-out-file='{home}/counts.%p' "
        f"'{sys.executable}' \"$@\"\n"
    )
    script.chmod(0o755)
    return script


def read_parts(home: Path) -> dict[str, int]:
    """Instructions of the first thread of each process by the label of their part."""
    parts: dict[str, tuple[int, int]] = {}
    for path in home.glob("counts.*-01"):
        serial = path.name.removesuffix("-01").split(".")[2:]
        text = path.read_text(errors="replace")
        label = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
        if serial and label and total:  # a label may come again: the last one counts
            found = (int(serial[0]), int(total[1]))
            parts[label[1]] = max(found, parts.get(label[1], found))
    return {label: total for label, (_, total) in parts.items()}


def per_call(parts: dict[str, int]) -> Counts:
    """The difference of a long and a short part, per call, without the loop around the calls."""
    few, many = COUNTS

    def slope(name: str) -> float:
        return (parts[f"{name}/{many}"] - parts[f"{name}/{few}"]) / (many - few)

    return {
        name: round(slope(name) - (slope(loop) if loop else 0.0), 1)
        for name, (loop, _) in OPERATIONS.items()
    }


# ---- comparing ----------------------------------------------------------------------------------


def toolchain(extension: Path) -> dict[str, str]:
    """What the counts depend on besides the sources."""
    built_by = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", extension.read_bytes())
    return {
        "compiler": built_by[0].decode() if built_by else "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.python_compiler()}",
        "libc": " ".join(platform.libc_ver()),
        "architecture": platform.machine(),
    }


def differences(recorded: dict[str, str], here: dict[str, str]) -> list[str]:
    """What of the toolchain is not as recorded, one line each."""
    return [
        f"{name}: recorded with {recorded.get(name, 'unknown')}, here {here.get(name, 'unknown')}"
        for name in sorted({*recorded, *here})
        if recorded.get(name) != here.get(name)
    ]


def excesses(recorded: Counts, measured: Counts, tolerance: float = TOLERANCE) -> list[str]:
    """The operations that cost more than recorded, by more than the tolerance, one line each."""
    found = []
    for name, before in recorded.items():
        now = measured.get(name)
        if now is None:
            found.append(f"{name}: recorded, but no longer counted")
        elif now > before * (1 + tolerance):
            found.append(
                f"{name}: {now:.0f} instructions, {now - before:.0f} more than the recorded "
                f"{before:.0f} ({(now / before - 1) * 100:+.1f} %)"
            )
    return [*found, *(f"{name}: not recorded" for name in measured if name not in recorded)]


def table(measured: Counts, recorded: Counts) -> str:
    """The counts beside the recorded ones."""
    lines = []
    for name, now in measured.items():
        before = recorded.get(name)
        change = f"{(now / before - 1) * 100:+6.1f} %" if before else ""
        lines.append(f"{name:18} {now:8.0f} {change:>9}  {OPERATIONS[name][1]}")
    return "\n".join(lines)


# ---- the command --------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help=f"fail when a count is more than {TOLERANCE:.0%} above the recorded one",
    )
    what.add_argument("--record", action="store_true", help="make these counts the recorded ones")


def load(path: Path = RECORDED) -> dict[str, Any]:
    """The recorded counts and their toolchain; both empty where nothing is recorded."""
    if not path.exists():
        return {"toolchain": {}, "instructions": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def command(options: argparse.Namespace) -> int:
    """Count, show, and compare or record."""
    try:
        measured, extension = measure()
    except CannotCount as reason:
        print(f"no counts: {reason}", file=sys.stderr)
        return 2
    recorded, here = load(), toolchain(extension)
    print(table(measured, recorded["instructions"]))
    if options.record:
        RECORDED.write_text(
            json.dumps({"toolchain": here, "instructions": measured}, indent=1) + "\n"
        )
        print(f"recorded in {RECORDED}")
        return 0
    return check(recorded, measured, here) if options.check else 0


def check(recorded: dict[str, Any], measured: Counts, here: dict[str, str]) -> int:
    """Say what is dearer than recorded; 1 when that is the fault of the sources."""
    found = excesses(recorded["instructions"], measured)
    other = differences(recorded["toolchain"], here)
    if other:
        print("\nThe counts are not judged, as they were recorded with other tools:")
        print("\n".join(f"  {line}" for line in other))
        return 0
    if not found:
        return 0
    print(f"\nMore than {TOLERANCE:.0%} above what is recorded:")
    print("\n".join(f"  {line}" for line in found))
    print("\nWhere that is meant: python -m benchmarks instructions --record")
    return 1
