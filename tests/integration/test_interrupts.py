"""Ctrl-C ends a wait for the answer of a daemon that is stopped, and what comes later is right."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from tests.crash.helpers import wait_until
from whipray import _core
from whipray._private import machine, session_kv
from whipray.experimental import internal_kv
from whipray.testing import assert_no_leaks

WATCHDOG_SECONDS = 120
DRIVER = 2


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=sys.__stderr__)
    yield
    whipray.shutdown()
    faulthandler.cancel_dump_traceback_later()


@whipray.remote(num_cpus=0)
class Shelf:
    def get(self) -> str:
        return "book"


@whipray.remote
def double(n: int) -> int:
    return n * 2


def state_of(path: str) -> str:
    return Path(path).read_text().rpartition(")")[2].split()[0]


def wait_until_asleep(thread: str) -> None:
    """Until the thread, a directory of /proc, sleeps and goes on to."""
    asleep = 0
    while asleep < 10:
        time.sleep(0.02)
        asleep = asleep + 1 if state_of(f"{thread}/stat") == "S" else 0


def interrupt_when_asleep(thread: int) -> None:
    """SIGINT for this process once its thread waits."""
    wait_until_asleep(f"/proc/self/task/{thread}")
    os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """What runs inside waits until Ctrl-C."""
    killer = threading.Thread(target=interrupt_when_asleep, args=(threading.get_native_id(),))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
        killer.join()
        time.sleep(1)  # the signal may come a moment later
    killer.join()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(f"/proc/{pid}/stat") == "T")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def name_an_actor() -> Any:
    return Shelf.options(name="other").remote()


REQUESTS: dict[str, Callable[[], Any]] = {
    "resources": lambda: double.options(num_cpus=0.25).remote(1),
    "environment": lambda: double.options(runtime_env={"env_vars": {"A": "1"}}).remote(1),
    "kv put": lambda: internal_kv._internal_kv_put("key", "new"),
    "kv get": lambda: internal_kv._internal_kv_get("key"),
    "kv list": lambda: internal_kv._internal_kv_list("k"),
    "named actor": lambda: whipray.get_actor("shelf"),
    "new named actor": name_an_actor,
    "list of names": lambda: whipray.util.list_named_actors(),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("listening", [False, True], ids=["alone", "beside the listener"])
def test_a_request_is_abandoned_and_its_answer_dropped(name: str, listening: bool) -> None:
    whipray.init(num_cpus=2, log_to_driver=listening)
    shelf = Shelf.options(name="shelf").remote()
    assert whipray.get(shelf.get.remote()) == "book"
    internal_kv._internal_kv_put("key", "old")
    with stopped(_core.info()["daemon_pid"]):
        for _ in range(2):
            with interrupted():
                REQUESTS[name]()
    assert internal_kv._internal_kv_get("key") == (b"new" if name == "kv put" else b"old")
    assert whipray.get(whipray.get_actor("shelf").get.remote()) == "book"
    REQUESTS[name]()  # also the name of an actor that has not come to be is free
    assert whipray.get(double.options(num_cpus=0.5).remote(4)) == 8


def is_full(fd: int) -> bool:
    """The kernel takes nothing more for this socket."""
    with socket.socket(fileno=os.dup(fd)) as copy:
        size = copy.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return size <= struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))[0]


def test_a_request_for_which_the_socket_has_no_room_is_abandoned() -> None:
    """Nothing of it is sent, so the connection stays whole."""
    whipray.init(num_cpus=1)
    info, count = _core.info(), 0
    with stopped(info["daemon_pid"]), interrupted():
        while not is_full(info["socket"]):
            body = _core.pack([b"", b"k%d" % count, b"v" * 1000, True])
            _core.notify(session_kv.MSG_KV_PUT, body)
            count += 1
        internal_kv._internal_kv_put("key", "x" * 1000)
    assert len(internal_kv._internal_kv_list("k")) == count
    assert whipray.get(double.remote(4)) == 8


@pytest.mark.parametrize("listening", [False, True], ids=["alone", "beside the listener"])
def test_a_request_of_which_a_part_is_sent_is_abandoned(listening: bool) -> None:
    """What follows comes behind its rest."""
    whipray.init(num_cpus=1, log_to_driver=listening)
    value = b"v" * 5_000_000
    with stopped(_core.info()["daemon_pid"]):
        with interrupted():
            internal_kv._internal_kv_put("large", value)
        with interrupted():
            internal_kv._internal_kv_put("small", b"s")
    internal_kv._internal_kv_put("next", b"n")
    assert internal_kv._internal_kv_get("large") == value
    assert internal_kv._internal_kv_get("small") is None
    assert internal_kv._internal_kv_get("next") == b"n"
    assert whipray.get(double.remote(4)) == 8


@pytest.mark.parametrize("listening", [False, True])
def test_shutdown_is_abandoned_and_the_session_left(listening: bool) -> None:
    with assert_no_leaks(timeout=60):
        whipray.init(num_cpus=1, log_to_driver=listening)
        assert whipray.get(double.remote(2)) == 4
        with stopped(_core.info()["daemon_pid"]), interrupted():
            whipray.shutdown()
        assert not whipray.is_initialized() and not _core.attached()
        whipray.init(num_cpus=1)
        assert whipray.get(double.remote(3)) == 6
        whipray.shutdown()


def test_shutdown_does_not_wait_for_requests_of_other_threads() -> None:
    whipray.init(num_cpus=1, log_to_driver=False)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            internal_kv._internal_kv_get("key")
        except BaseException as error:
            raised.append(error)

    with stopped(_core.info()["daemon_pid"]):
        other = threading.Thread(target=ask)
        other.start()
        wait_until(lambda: state_of(f"/proc/self/task/{other.native_id}/stat") == "S")
        with interrupted():
            whipray.shutdown()
        other.join()
    assert isinstance(raised[0], whipray.exceptions.RaySystemError)
    assert not _core.attached()


def test_init_is_abandoned_while_the_daemon_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = tmp_path / "daemon"
    daemon.write_text("#!/bin/sh\nexec sleep 1000\n")
    daemon.chmod(0o755)
    with assert_no_leaks(timeout=60):
        with monkeypatch.context() as patch:
            patch.setattr(machine, "daemon_path", lambda: str(daemon))
            with interrupted():
                whipray.init(num_cpus=1)
        assert not _core.attached()
        whipray.init(num_cpus=1)
        assert whipray.get(double.remote(3)) == 6
        whipray.shutdown()


LEAVE = """
try:
    whipray.shutdown()
except KeyboardInterrupt:
    print("interrupted", whipray.is_initialized(), flush=True)
"""


@pytest.mark.parametrize(
    ("leave", "number", "said"),
    [(LEAVE, signal.SIGINT, "interrupted False\n"), ("sys.exit()", signal.SIGTERM, "")],
    ids=["shutdown", "exit"],
)
def test_who_has_joined_may_abandon_its_shutdown(leave: str, number: int, said: str) -> None:
    """The session goes on for the others."""
    whipray.init(num_cpus=1)
    program = f"""
import sys, whipray
whipray.init(sys.argv[1], log_to_driver=False)
print("ready", flush=True)
sys.stdin.readline()
print("leaving", flush=True)
{leave}
"""
    address = whipray.get_runtime_context().gcs_address
    other = subprocess.Popen(
        [sys.executable, "-c", program, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert other.stdin is not None and other.stdout is not None
    try:
        assert other.stdout.readline() == "ready\n"
        with stopped(_core.info()["daemon_pid"]):
            other.stdin.write("go\n")
            other.stdin.flush()
            assert other.stdout.readline() == "leaving\n"
            wait_until_asleep(f"/proc/{other.pid}")
            other.send_signal(number)
            assert other.communicate()[0] == said
    finally:
        other.kill()
        other.wait()
    assert other.returncode == 0
    assert whipray.get(double.remote(5)) == 10
    wait_until(lambda: len([row for row in _core.procs() if row["role"] == DRIVER]) == 1)
