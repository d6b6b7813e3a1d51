"""Drivers that multiprocessing has started: their script is called `__mp_main__` there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import dataclasses
import multiprocessing
import sys

import whipray


def double(x):
    return 2 * x


@dataclasses.dataclass
class Pair:
    x: int


class Base:
    def inherited(self):
        return Pair(double(4))


@whipray.remote
def task(pair):
    return double(pair.x), Pair(pair.x + 1)


@whipray.remote
class Actor(Base):
    pass


def drive():
    whipray.init(num_cpus=1)
    refs = [task.remote(Pair(3)), Actor.remote().inherited.remote(), whipray.put(Pair(5))]
    print(whipray.get(refs))
    whipray.shutdown()


if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[1]).Process(target=drive)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_what_the_script_defines_reaches_the_workers_of_a_child(
    method: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), method], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[(6, Pair(x=4)), Pair(x=8), Pair(x=5)]\n"
