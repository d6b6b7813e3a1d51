"""A cancelled task does not leave a half-imported module to the next task of its process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType

import pytest

SLOW = """
import os, pathlib, time
here = pathlib.Path(__file__).parent
(here / "began").touch()
while not (here / "go").exists():
    time.sleep(0.01)
(here / "imported").write_text(str(os.getpid()))
"""


@pytest.mark.whipray(num_cpus=1, fresh=True)
def test_the_import_ends_before_the_task_does(whipray: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    folder = str(tmp_path)

    @whipray.remote(max_retries=0)
    def work() -> None:
        import sys

        sys.path.insert(0, folder)
        import slow_to_import  # noqa: F401

        while True:
            time.sleep(0.01)

    @whipray.remote
    def process() -> int:
        return os.getpid()

    ref = work.remote()
    _until(tmp_path / "began")
    whipray.cancel(ref)
    (tmp_path / "go").touch()
    with pytest.raises(whipray.exceptions.TaskCancelledError):
        whipray.get(ref)
    assert (tmp_path / "imported").read_text() == str(whipray.get(process.remote()))


def _until(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
