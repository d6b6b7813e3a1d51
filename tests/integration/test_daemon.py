"""The daemon seen from Python: its life, its workers, what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray import _core

STATS = 18


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Look until the condition holds; the limit only keeps a broken build from hanging."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.005)


def stats() -> dict[str, int]:
    result: dict[str, int] = _core.unpack(_core.rpc(STATS, _core.pack([])))[0]
    return result


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def session() -> Iterator[dict[str, Any]]:
    whipray.init(num_cpus=2)
    yield _core.info()
    whipray.shutdown()


@whipray.remote
def own_pid() -> int:
    return os.getpid()


@whipray.remote(max_retries=0)
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_are_there_before_the_first_task(session: dict[str, Any]) -> None:
    wait_until(lambda: stats()["workers"] == 2)


def test_session_directory_is_private_and_goes(session: dict[str, Any]) -> None:
    directory = Path(session["session_dir"])
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.parent.stat().st_mode & 0o022 == 0
    assert (directory / "sock").is_socket()
    pids = [session["daemon_pid"], whipray.get(own_pid.remote())]
    whipray.shutdown()
    assert not directory.exists()
    assert not any(alive(pid) for pid in pids)


def test_dead_workers_are_replaced(session: dict[str, Any]) -> None:
    for _ in range(5):
        with pytest.raises(whipray.exceptions.WorkerCrashedError):
            whipray.get(die.remote())
        assert whipray.get(own_pid.remote()) > 0
    wait_until(lambda: stats()["workers"] == 2)
    assert stats()["deaths"] == 5


def test_no_zombie_stays(session: dict[str, Any]) -> None:
    server = parent(whipray.get(own_pid.remote()))
    with pytest.raises(whipray.exceptions.WorkerCrashedError):
        whipray.get(die.remote())
    children = Path(f"/proc/{server}/task/{server}/children")
    wait_until(lambda: all(alive(int(pid)) for pid in children.read_text().split()))


def test_a_dead_fork_server_is_replaced(session: dict[str, Any]) -> None:
    worker = whipray.get(own_pid.remote())
    os.kill(parent(worker), signal.SIGKILL)
    wait_until(lambda: not alive(worker))
    assert whipray.get(own_pid.remote()) != worker


def test_orphans_of_a_worker_are_reaped(session: dict[str, Any]) -> None:
    @whipray.remote
    def leave_a_child() -> int:
        code = "import time; time.sleep(0.2)"
        child = subprocess.Popen([sys.executable, "-c", code])
        pid = child.pid
        os.kill(os.getpid(), 0)
        return pid

    child = whipray.get(leave_a_child.remote())
    with pytest.raises(whipray.exceptions.WorkerCrashedError):
        whipray.get(die.options(num_cpus=2).remote())
    wait_until(lambda: not alive(child))


def run_driver(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


LONG_DRIVER = """
    import time, os, whipray
    from whipray import _core
    whipray.init(num_cpus=2)
    @whipray.remote
    def pid(): return os.getpid()
    print(_core.info()["daemon_pid"], whipray.get(pid.remote()), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_everything_ends_with_a_killed_driver(how: signal.Signals) -> None:
    driver = run_driver(LONG_DRIVER)
    assert driver.stdout is not None
    pids = [int(text) for text in driver.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    driver.send_signal(how)
    driver.communicate()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_killed_daemon_ends_the_session() -> None:
    driver = run_driver("""
        import os, signal, time, whipray
        from whipray import _core
        whipray.init(num_cpus=1)
        @whipray.remote
        def sleep(): time.sleep(600)
        ref = sleep.remote()
        os.kill(_core.info()["daemon_pid"], signal.SIGKILL)
        try:
            whipray.get(ref)
        except Exception as error:
            print(type(error).__name__)
    """)
    out, err = driver.communicate(timeout=120)
    assert out.strip(), err


def test_output_of_workers_reaches_the_driver() -> None:
    driver = run_driver("""
        import sys, whipray
        whipray.init(num_cpus=1)
        @whipray.remote
        def speak():
            print("to the output")
            print("to the errors", file=sys.stderr)
        whipray.get(speak.remote())
        whipray.shutdown()
    """)
    out, err = driver.communicate(timeout=120)
    assert "to the output" in out + err
    assert "to the errors" in out + err


def test_a_temporary_directory_with_a_long_name_is_explained() -> None:
    with pytest.raises(ConnectionError, match="too long for a unix socket"):
        whipray.init(num_cpus=1, _temp_dir="/tmp/" + "x" * 120)
    assert not whipray.is_initialized()


def test_preloaded_modules_are_there_before_they_are_imported() -> None:
    with whipray.init(num_cpus=1, preload=["colorsys", "xml.dom"]):

        @whipray.remote
        def loaded() -> list[str]:
            return sorted({"colorsys", "xml.dom", "wave"} & set(sys.modules))

        assert whipray.get(loaded.remote()) == ["colorsys", "xml.dom"]


@pytest.mark.parametrize(
    ("preload", "error"),
    [("numpy", TypeError), ([3], TypeError), (["no_such_module.part"], ModuleNotFoundError)],
)
def test_wrong_preload_is_refused_in_the_caller(preload: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="preload"):
        whipray.init(num_cpus=1, preload=preload)
    assert not whipray.is_initialized()
