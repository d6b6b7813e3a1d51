"""Compiles and runs the C benchmarks in ``benchmarks/c``: one program per source file there.

A source names in its first comment what else it needs: ``needs:`` sources of the repository,
``flags:`` for the compiler. A program whose sources do not exist is reported as missing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "c"
REPOSITORY = HERE.parent.parent
BUILD = HERE / "build"
FLAGS = [
    "-std=gnu17",
    "-O2",
    "-march=native",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wconversion",
    "-Wstrict-prototypes",
    f"-I{HERE}",
    f"-I{REPOSITORY / 'csrc'}",
]


class CannotBuild(Exception):
    """A C benchmark cannot be built here; the text says why."""


def programs() -> list[Path]:
    """The sources that are programs, in order of name."""
    return sorted(HERE.glob("*.c"))


def _declared(source: Path, word: str) -> list[str]:
    """What the first comment of the source says after ``word:``."""
    comment = source.read_text().partition("*/")[0]
    return [item for line in re.findall(rf"\b{word}:([^\n*]*)", comment) for item in line.split()]


def build(source: Path) -> Path:
    """Compile the program unless it is newer than everything it is made of; returns its path."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise CannotBuild("no C compiler (cc, gcc or $CC)")
    needed = [REPOSITORY / name for name in _declared(source, "needs")]
    absent = [str(path.relative_to(REPOSITORY)) for path in needed if not path.exists()]
    if absent:
        raise CannotBuild(f"not in this tree: {' '.join(absent)}")
    BUILD.mkdir(exist_ok=True)
    program = BUILD / source.stem
    headers = [*HERE.glob("*.h"), *(REPOSITORY / "csrc").glob("**/*.h")]
    if program.exists() and program.stat().st_mtime > max(
        path.stat().st_mtime for path in [source, *needed, *headers]
    ):
        return program
    flags = _declared(source, "flags")
    command = [compiler, *FLAGS, "-o", str(program), str(source), *map(str, needed), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"{source.name} does not compile:\n{done.stderr.strip()}")
    return program


def run(source: Path, timeout: float = 120.0) -> list[dict[str, Any]]:
    """Build and run one program; its output lines as dictionaries of name, value and unit."""
    done = subprocess.run([str(build(source))], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise CannotBuild(f"{source.name} failed: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
