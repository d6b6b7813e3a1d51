"""Programs in directories whose names are no text in the encoding of the system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os

import helper
import whipray

whipray.init(num_cpus=1)


@whipray.remote
class Actor:
    def value(self):
        return helper.value()


def where():
    return os.getcwd()


assert whipray.get(whipray.remote(where).remote()) == os.getcwd()
assert whipray.get(whipray.remote(helper.value).remote()) == 7
assert whipray.get(Actor.remote().value.remote()) == 7
moved = whipray.remote(where).options(runtime_env={"working_dir": os.getcwd()})
assert whipray.get(moved.remote()) != os.getcwd()
whipray.shutdown()
print("done")
"""
DEEP = """
import os

import whipray

for _ in range(25):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
whipray.init(num_cpus=1)
assert len(os.getcwd()) > 4096
assert whipray.get(whipray.remote(os.getcwd).remote()) == os.getcwd()
whipray.shutdown()
print("done")
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [{}, ASCII], ids=["utf-8", "ascii"])
@pytest.mark.parametrize("name", [b"caf\xe9 one", "café two".encode()], ids=["latin-1", "utf-8"])
def test_a_program_runs_where_the_name_of_its_directory_is_no_text(
    name: bytes, locale: dict[str, str], tmp_path: Path
) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    directory.mkdir()
    (directory / "program.py").write_text(PROGRAM)
    (directory / "helper.py").write_text("def value():\n    return 7\n")
    done = subprocess.run(
        [sys.executable, str(directory / "program.py")],
        cwd=directory,
        env={**os.environ, **locale},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_program_runs_in_a_directory_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", DEEP],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
