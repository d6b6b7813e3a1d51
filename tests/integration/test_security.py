"""Who gets in, who does not, and what a neighbour can break."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray import _core

GET_SEALS = 1034  # F_GET_SEALS, F_SEAL_SHRINK and F_SEAL_GROW of linux/fcntl.h
SHRINK, GROW = 2, 4
HELLO = 2
SECRET = "hunter2-c0rrect-h0rse"


@pytest.fixture
def session() -> Iterator[dict[str, Any]]:
    whipray.init(num_cpus=2)
    yield _core.info()
    whipray.shutdown()


@whipray.remote
def own_pid() -> int:
    return os.getpid()


@whipray.remote
def read_variable(name: str) -> str:
    print("the task runs")
    return os.environ[name]


def processes(daemon: int) -> list[int]:
    """This process, the daemon and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
    found = [daemon]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return [os.getpid(), *found]


def links(pid: int) -> dict[int, str]:
    """What the descriptors of a process lead to; empty when it has just ended."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = os.readlink(entry)
    return found


def internet_inodes() -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                inodes.add(f"socket:[{line.split()[9]}]")
    return inodes


def sockets_of(pids: list[int]) -> set[str]:
    return {link for pid in pids for link in links(pid).values() if link.startswith("socket:")}


def test_no_process_has_an_internet_socket() -> None:
    before = sockets_of([os.getpid()])
    whipray.init(num_cpus=2)
    try:
        worker = whipray.get(own_pid.remote())
        pids = processes(_core.info()["daemon_pid"])
        assert worker in pids
        mine = sockets_of(pids) - before
        assert mine  # the unix sockets between them
        assert not mine & internet_inodes()
    finally:
        whipray.shutdown()


def test_an_internet_socket_would_be_found() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert sockets_of([os.getpid()]) & internet_inodes()


def test_another_user_gets_nothing(session: dict[str, Any]) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user to try it")
    program = """
        import os, socket, sys
        directory, pid, fd = sys.argv[1:]
        os.setgid(65534), os.setgroups([]), os.setuid(65534)
        got_in = []
        def attempt(name, call):
            try:
                call()
                got_in.append(name)
            except PermissionError:
                pass
        attempt("directory", lambda: os.listdir(directory))
        attempt("socket", lambda: socket.socket(socket.AF_UNIX).connect(directory + "/sock"))
        attempt("log", lambda: open(directory + "/logs/whiprayd.log"))
        attempt("memory", lambda: open(f"/proc/{pid}/fd/{fd}", "rb"))
        attempt("address space", lambda: open(f"/proc/{pid}/mem", "rb"))
        attempt("signal", lambda: os.kill(int(pid), 0))
        print(",".join(got_in) or "nothing")
    """
    pid = session["daemon_pid"]
    memory = next(fd for fd, link in links(pid).items() if link.startswith("/memfd:whipray"))
    command = [sys.executable, "-c", textwrap.dedent(program), session["session_dir"]]
    done = subprocess.run(
        [*command, str(pid), str(memory)], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.strip() == "nothing", done.stdout + done.stderr


def test_the_shared_memory_keeps_its_size(session: dict[str, Any]) -> None:
    pid = session["daemon_pid"]
    memory = next(fd for fd, link in links(pid).items() if link.startswith("/memfd:whipray"))
    with open(f"/proc/{pid}/fd/{memory}", "r+b", buffering=0) as file:
        assert fcntl.fcntl(file, GET_SEALS) & (SHRINK | GROW) == SHRINK | GROW
        with pytest.raises(PermissionError):
            file.truncate(4096)


def frame(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<III", len(body) if length is None else length, kind, 1) + body


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    frame(HELLO, b"\xc1"),
    frame(HELLO, b"\xdd\xff\xff\xff\xff"),
    frame(HELLO, b"", length=0xFFFFFFFF),
    frame(HELLO, b"\x93", length=1000),  # half a frame
    frame(HELLO, _core.pack([99, 2, {}])),
    frame(HELLO, _core.pack([1, 1, {}])),  # a daemon
    frame(HELLO, _core.pack([1, 2, {"num_cpus": "many"}])),
    frame(77, _core.pack([])),
    os.urandom(5000),
]


def test_garbage_on_the_socket_harms_nobody(session: dict[str, Any]) -> None:
    path = session["session_dir"] + "/sock"
    for _ in range(20):
        for text in GARBAGE:
            with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(BrokenPipeError):
                s.connect(path)
                s.sendall(text)
    assert whipray.get(own_pid.remote()) > 0


def test_many_silent_connections_harm_nobody(session: dict[str, Any]) -> None:
    path = session["session_dir"] + "/sock"
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.connect(path)
            s.sendall(b"\x01")  # and no more
        assert whipray.get(own_pid.remote()) > 0


def test_a_driver_cannot_say_that_it_is_another_process(session: dict[str, Any]) -> None:
    """The kernel says who is at the other end; a victim named in the greeting is left alone."""
    victim = subprocess.Popen(["sleep", "1000"])
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(session["session_dir"] + "/sock")
            s.sendall(frame(HELLO, _core.pack([1, 2, {"driver_pid": victim.pid}])))
            assert struct.unpack("<III", s.recv(12, socket.MSG_WAITALL))[1] == 66  # welcome
        assert whipray.get(own_pid.remote()) > 0
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_values_of_variables_are_not_logged(
    session: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    task = read_variable.options(runtime_env={"env_vars": {"TOKEN_OF_TEST": SECRET}})
    assert whipray.get(task.remote("TOKEN_OF_TEST")) == SECRET
    files = [path for path in Path(session["session_dir"]).rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    whipray.shutdown()
    out, err = capfd.readouterr()
    assert SECRET not in out + err
