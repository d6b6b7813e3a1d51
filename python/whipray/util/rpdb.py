"""Break points in tasks and actors: pdb over a unix socket in the session's directory.

`set_trace()`, and `breakpoint()` in a worker, wait until somebody says `whipray debug attach`.  In
a driver it is pdb in its own terminal.  No port is opened.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pdb
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from whipray import _core

__all__ = ["set_trace"]

FOLDER = "debug"
"""In the session's directory: a socket for each break point that waits, named <pid>-<number>."""
MAKING = ".making"
"""Ending of a name that does not listen yet."""
_numbers = itertools.count(1)


def _is_ray_debugger_post_mortem_enabled() -> bool:
    """False: an error of a task does not stop it; Ray's serving library asks."""
    return False


def set_trace(breakpoint_uuid: Any = None) -> None:
    """Stop here and wait for a debugger; `breakpoint_uuid` is Ray's own and has no meaning."""
    stop_at(sys._getframe(1))


def stop_at(frame: FrameType) -> None:
    """Stop in this frame."""
    from whipray._private import worker

    if worker.state.is_worker:
        _Remote(_attached(frame)).set_trace(frame)
    else:
        pdb.Pdb().set_trace(frame)


class _Remote(pdb.Pdb):
    """Talks to one connection, until the program goes on without a break point left."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        reader = connection.makefile("r", encoding="utf-8", errors="replace")
        answers: Any = _Answers(connection)
        super().__init__(stdin=reader, stdout=answers)
        self.prompt = "(whipray-pdb) "

    def set_continue(self) -> None:
        super().set_continue()
        if not self.breaks:
            self._connection.close()
            self.stdin.close()

    def set_quit(self) -> None:
        super().set_quit()
        self._connection.close()
        self.stdin.close()

    def do_EOF(self, arg: str) -> Any:
        """Whoever has attached is gone: the program goes on, without its break points."""
        self.clear_all_breaks()
        return self.do_continue(arg)


class _Answers(io.TextIOBase):
    """What the debugger says; nothing is said to those who have left."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._connection.sendall(text.encode())
        return len(text)


def _attached(frame: FrameType) -> socket.socket:
    """Wait for the connection of a debugger."""
    folder = os.path.join(str(_core.info()["session_dir"]), FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    name = f"{os.getpid()}-{next(_numbers)}"
    with _socket_in(folder, name) as (listener, path):
        listener.bind(path + MAKING)
        try:
            listener.listen(1)
            os.rename(path + MAKING, path)
            sys.stderr.write(
                f"Break point at {frame.f_code.co_filename}:{frame.f_lineno}; attach to it by "
                f"`whipray debug attach {name}`\n"
            )
            return listener.accept()[0]
        finally:
            for left in (path + MAKING, path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left)


@contextlib.contextmanager
def _socket_in(folder: str, name: str) -> Iterator[tuple[socket.socket, str]]:
    """A unix socket, and the path of a name in the folder: short, however long the folder's is."""
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            yield made, f"/proc/self/fd/{place}/{name}"
    finally:
        os.close(place)


# ---- the other side ------------------------------------------------------------------------------


def waiting(session_dir: str) -> list[str]:
    """Names of the break points of the session that wait."""
    folder = os.path.join(session_dir, FOLDER)
    with contextlib.suppress(FileNotFoundError):
        return sorted(
            name for name in os.listdir(folder) if not name.endswith(MAKING) and _lives(name)
        )
    return []


def _lives(name: str) -> bool:
    pid = name.partition("-")[0]
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")


def connected(session_dir: str, name: str) -> socket.socket:
    """A connection to that break point; OSError when nothing waits there."""
    with _socket_in(os.path.join(session_dir, FOLDER), name) as (made, path):
        made.connect(path)
        return made.dup()
