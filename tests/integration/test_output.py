"""Output of workers on its way to the driver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SLOW_FORKS = """
import os, time
os.register_at_fork(after_in_parent=lambda: time.sleep(0.2))
"""

PROGRAM = """
import os
import time
import whipray
from whipray.util.state import list_workers

whipray.init("local", num_cpus=1)

@whipray.remote
def talk():
    print("my pid is", os.getpid())
    return os.getpid()

pid = whipray.get(talk.remote())
while pid not in [worker.pid for worker in list_workers()]:  # a fork takes long here
    time.sleep(0.01)
whipray.shutdown()
print("it was", pid)
"""


def test_what_a_worker_prints_before_the_daemon_knows_its_pid_carries_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_FORKS)  # read by the fork server, too
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    pid = re.findall(r"it was (\d+)", done.stdout)[0]
    assert f"(talk pid={pid}) my pid is {pid}" in done.stdout + done.stderr
