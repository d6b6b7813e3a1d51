"""`whipray.testing.assert_no_leaks` finds what is left behind, and nothing else."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from whipray.testing import Leaks, assert_no_leaks

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

# Starts a sleeping grandchild in a session of its own, prints its pid and ends: an orphan.
ORPHAN = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"],
    start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
print(child.pid)
"""


def test_a_clean_block_passes(tmp_path: Path) -> None:
    with assert_no_leaks(mappings=True):
        (tmp_path / "file").write_text("text")
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_child_is_named_with_its_command() -> None:
    with (
        pytest.raises(AssertionError, match=r"leaked process: \d+ .*time\.sleep\(600\)") as caught,
        assert_no_leaks(timeout=0.0),
    ):
        child = subprocess.Popen(SLEEP)
    assert str(child.pid) in str(caught.value)
    child.kill()
    child.wait()


def test_an_orphan_that_left_its_session_is_found() -> None:
    with pytest.raises(AssertionError) as caught, assert_no_leaks(timeout=0.0):
        done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, check=True)
    pid = int(done.stdout)
    os.kill(pid, signal.SIGKILL)
    assert f"leaked process: {pid} " in str(caught.value)


def test_a_zombie_counts() -> None:
    with pytest.raises(AssertionError, match="zombie"), assert_no_leaks(timeout=0.0):
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.waitpid(pid, 0)


def test_processes_from_before_do_not_count() -> None:
    child = subprocess.Popen(SLEEP)
    with assert_no_leaks(timeout=0.0):
        pass
    child.kill()
    child.wait()


def test_waits_for_a_process_that_is_about_to_end() -> None:
    child = None
    with assert_no_leaks(timeout=60.0):
        child = subprocess.Popen(SLEEP)
        reaper = threading.Thread(target=child.wait)
        reaper.start()
        child.terminate()
    reaper.join()
    assert child.returncode == -signal.SIGTERM


def test_open_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "left-open"
    with pytest.raises(AssertionError, match=r"leaked open file: .*left-open"):
        with assert_no_leaks(timeout=0.0):
            number = os.open(path, os.O_CREAT | os.O_WRONLY)
    with assert_no_leaks(timeout=0.0):
        os.close(number)


def test_switches_limit_what_is_looked_at(tmp_path: Path) -> None:
    with assert_no_leaks(timeout=0.0, files=False):
        number = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    os.close(number)
    with assert_no_leaks(timeout=0.0, processes=False):
        child = subprocess.Popen(SLEEP)
    child.kill()
    child.wait()


def test_shared_mappings_are_named_on_request() -> None:
    def map_some() -> mmap.mmap:
        number = os.memfd_create("left-mapped")
        os.ftruncate(number, 4096)
        try:
            return mmap.mmap(number, 4096)
        finally:
            os.close(number)

    with pytest.raises(AssertionError, match=r"leaked shared mapping: /memfd:left-mapped"):
        with assert_no_leaks(timeout=0.0, files=False, mappings=True):
            memory = map_some()
    memory.close()
    with assert_no_leaks(timeout=0.0, mappings=True):
        map_some().close()


def test_an_error_in_the_block_passes_through() -> None:
    with pytest.raises(KeyError, match="inner"), assert_no_leaks(timeout=0.0):
        raise KeyError("inner")


def test_blocks_may_be_nested() -> None:
    with pytest.raises(AssertionError, match="leaked process"), assert_no_leaks(timeout=0.0):
        with assert_no_leaks(timeout=0.0):
            pass
        child = subprocess.Popen(SLEEP)
    child.kill()
    child.wait()


def test_leaks_print_one_line_each() -> None:
    assert not Leaks()
    both = Leaks(processes=("7 a: b",), files=("socket:[1]",))
    assert both
    assert str(both).splitlines() == ["leaked process: 7 a: b", "leaked open file: socket:[1]"]
