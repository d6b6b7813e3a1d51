"""Which sessions of this user there are on this machine: those that `whipray start` has started,
the last of them, and the newest of any.

A session's directory lies below the runtime directory of the user.  The daemon holds a lock on its
`pid` file for as long as it lives, so that a pid is never taken for another process's.  A session
that `whipray start` has started has a link in the folder `started` there, wherever its own
directory is, and the last one another link.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

CURRENT = "current-session"
STARTED = "started"
MAKING = "making-"
"""Before the pid of a process that is about to rename the link: to `current-session`."""


def runtime_dir() -> str:
    """The directory in which the sessions of this user have theirs; it need not exist."""
    for name in ("WHIPRAY_TMPDIR", "RAY_TMPDIR", "XDG_RUNTIME_DIR"):
        value = os.environ.get(name, "")
        if value.startswith("/") and os.path.isdir(value):
            break
    else:
        value = "/tmp"
    return os.path.join(value, f"whipray-{os.getuid()}")


def socket_of(session_dir: str) -> str:
    """Path of a session's socket."""
    return os.path.join(session_dir, "sock")


def daemon_of(session_dir: str) -> int | None:
    """Pid of the session's daemon, or None when it has ended."""
    try:
        fd = os.open(os.path.join(session_dir, "pid"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, 32).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)
    return None


def last_started() -> str | None:
    """Directory of the session that `whipray start` started last, if it lives."""
    try:
        found = os.readlink(os.path.join(runtime_dir(), CURRENT))
    except OSError:
        return None
    return found if daemon_of(found) is not None else None


def newest() -> str | None:
    """Directory of the session that lives and was begun last, by whomever, or None."""
    with contextlib.suppress(FileNotFoundError), os.scandir(runtime_dir()) as found:
        sessions = [entry for entry in found if entry.name.startswith("session_")]
        for entry in sorted(sessions, key=_begun, reverse=True):
            # a daemon makes its socket once it has the lock: a look must not keep it from that
            if os.path.exists(socket_of(entry.path)) and daemon_of(entry.path) is not None:
                return entry.path
    return None


def _begun(entry: os.DirEntry[str]) -> tuple[int, int]:
    """When a session's directory was made: its name is session_<seconds>_<pid of the daemon>."""
    seconds, _, pid = entry.name.removeprefix("session_").partition("_")
    return (int(seconds), int(pid)) if seconds.isdigit() and pid.isdigit() else (0, 0)


def remember(session_dir: str) -> None:
    """Note a session that `whipray start` has started, as the last one."""
    folder = os.path.join(runtime_dir(), STARTED)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _drop_unfinished(folder)
    os.symlink(session_dir, os.path.join(folder, os.path.basename(session_dir)))
    making = os.path.join(folder, f"{MAKING}{os.getpid()}")
    os.symlink(session_dir, making)
    os.rename(making, os.path.join(runtime_dir(), CURRENT))


def _drop_unfinished(folder: str) -> None:
    """Remove what processes have left that were killed while they made a link."""
    for name in os.listdir(folder):
        pid = name.removeprefix(MAKING)
        mine = pid == str(os.getpid())
        if pid != name and (mine or not os.path.exists(f"/proc/{pid}")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def started() -> list[str]:
    """Directories of the sessions that `whipray start` has started, dead ones too."""
    folder = os.path.join(runtime_dir(), STARTED)
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            if name.startswith(MAKING):
                continue
            with contextlib.suppress(OSError):
                found.append(os.readlink(os.path.join(folder, name)))
    return found


def forget_dead() -> None:
    """Remove the notes about sessions that have ended."""
    folder = os.path.join(runtime_dir(), STARTED)
    dead = [path for path in started() if daemon_of(path) is None]
    notes = [os.path.join(folder, os.path.basename(path)) for path in dead]
    if last_started() is None:
        notes.append(os.path.join(runtime_dir(), CURRENT))
    for note in notes:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)
    with contextlib.suppress(OSError):
        _drop_unfinished(folder)
        os.rmdir(folder)  # unless there are others
