"""The process that forks workers: one per job, started by whiprayd.

Descriptor 3 is a socket to the daemon, descriptor 4 the session's segment.  The program stays
single-threaded, imports what workers will need, and then forks one worker per SPAWN message.
Workers share its memory, so one costs little.  Large modules that the work may or may not need
(NumPy, where the driver has it) come after the first worker, which need not wait for them.  It
reaps a worker only when told to: the daemon reads the exit status of the zombie first.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from typing import NoReturn

from whipray import _core

CONTROL_FD = 3
SEGMENT_FD = 4
SPAWN, REAP, READY, SPAWNED, SPAWN_FAILED, REAPED = 128, 129, 130, 131, 132, 133

LATER = "--"
"""On the command line: what follows is imported after the first worker has been forked."""
ALWAYS = ("whipray._private.worker_main", "whipray.actor", "whipray.cloudpickle")

HEADER = struct.Struct("<III")
SPAWN_FIELDS = struct.Struct("<III")
PID = struct.Struct("<I")
REAPED_FIELDS = struct.Struct("<II")


class Spawn:
    """A worker to make: its slot and generation, variables, socket and output pipes."""

    def __init__(self, body: bytes, fds: list[int]) -> None:
        self.slot, self.gen, self.pool = SPAWN_FIELDS.unpack_from(body)
        self.env = [item.partition(b"=") for item in body[SPAWN_FIELDS.size :].split(b"\0") if item]
        self.sock, self.out, self.err = fds


def main() -> None:
    """Serve the daemon until it goes; returns only when it has gone."""
    control = socket.socket(fileno=CONTROL_FD)
    try:
        _begin(control)
    except BaseException:
        control.detach()  # open to the end: whiprayd kills who hangs up
        raise


def _begin(control: socket.socket) -> None:
    for fd in (CONTROL_FD, SEGMENT_FD):
        os.set_inheritable(fd, False)
    named = sys.argv[1:]
    sys.argv[1:] = []
    at = named.index(LATER)
    _import_ahead((*ALWAYS, *named[:at]))
    _core.premap(SEGMENT_FD)
    _send(control, READY, b"")
    worker = _serve(control, named[at + 1 :])
    if worker is not None:
        control.close()
        _become(worker)


def _import_ahead(names: Iterable[str]) -> None:
    """Import modules for the workers to share; no collection touches them later."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            sys.stderr.write(f"cannot import {name} ahead: {error!r}\n")
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket, later: list[str]) -> Spawn | None:
    """Answer messages; None when the daemon has gone.  In a new worker, what it is to become."""
    while True:
        message = _receive(control)
        if message is None:
            return None
        kind, body, fds = message
        if kind == SPAWN and len(fds) == 3:
            order = Spawn(body, fds)
            if _fork(control, order):
                return order
            if later:
                _import_ahead(later)
                later = []
        else:
            for fd in fds:
                os.close(fd)
            if kind == REAP:
                _reap(control, PID.unpack(body)[0])


def _fork(control: socket.socket, order: Spawn) -> bool:
    """Fork a worker and report it; True in the worker."""
    try:
        pid = os.fork()
    except OSError as error:
        body = SPAWN_FIELDS.pack(order.slot, order.gen, error.errno or 0)
        _send(control, SPAWN_FAILED, body)
    else:
        if pid == 0:
            return True
        _send(control, SPAWNED, SPAWN_FIELDS.pack(order.slot, order.gen, pid))
    for fd in (order.sock, order.out, order.err):
        os.close(fd)
    return False


def _reap(control: socket.socket, pid: int) -> None:
    """Reap a worker that has ended and tell how much memory it had at most."""
    kib = 0
    try:
        kib = os.wait4(pid, 0)[2].ru_maxrss
    except ChildProcessError:
        sys.stderr.write(f"there is no child {pid} to reap\n")
    _send(control, REAPED, REAPED_FIELDS.pack(pid, kib))


def _become(order: Spawn) -> NoReturn:
    """In the new process: take its place in the session and work."""
    from whipray._private import worker_main

    os.setpgid(0, 0)  # what it starts can be ended with it
    os.dup2(order.out, 1)
    os.dup2(order.err, 2)
    os.close(order.out)
    os.close(order.err)
    os.set_inheritable(order.sock, False)
    for name, _, value in order.env:
        os.environb[name] = value
    signal.signal(signal.SIGINT, signal.default_int_handler)
    broken = _change_interpreter(order)
    _attach(order.slot, order.gen, order.sock)
    worker_main.run(broken)


def _attach(slot: int, gen: int, sock: int) -> None:
    """Take the worker's place in the session; the process ends here if the session has ended."""
    if _core.adopt(SEGMENT_FD, sock, slot, gen) is None:
        os._exit(0)


def _change_interpreter(order: Spawn) -> str | None:
    """Execute the interpreter of the worker's environment, if that is another one.

    Returns only if there is none, or with the reason why it can not be had.
    """
    if not os.environ.get("WHIPRAY_TASK_ENV"):
        return None
    from whipray._private.envs import enter, interpreter

    wanted = enter.own()
    if not interpreter.needed(wanted):
        return None
    _core.die_with_parent()
    try:
        interpreter.change(wanted, order.slot, order.gen, order.sock)
    except enter.SetupFailed as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def resume(slot: int, gen: int, sock: int) -> NoReturn:
    """In another interpreter that a worker has executed: go on as that worker."""
    from whipray._private import worker_main

    for fd in (SEGMENT_FD, sock):
        os.set_inheritable(fd, False)
    _attach(slot, gen, sock)
    worker_main.run(None)


# ---- messages ------------------------------------------------------------------------------------


def _send(control: socket.socket, kind: int, body: bytes) -> None:
    control.sendall(HEADER.pack(len(body), kind, 0) + body)


def _receive(control: socket.socket) -> tuple[int, bytes, list[int]] | None:
    """Type, body and descriptors of the next message; None at the end of the stream."""
    head, fds, _, _ = socket.recv_fds(control, HEADER.size, 4)
    if not head:
        return None
    length, kind, _ = HEADER.unpack(head + _read(control, HEADER.size - len(head)))
    return kind, _read(control, length), list(fds)


def _read(control: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = control.recv(size)
        if not part:
            raise EOFError("the daemon has gone in the middle of a message")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
