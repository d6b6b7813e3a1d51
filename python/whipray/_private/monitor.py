"""The driver's thread that listens to the daemon: workers' output and the end of the session.

It is a daemon thread, so it never keeps the interpreter alive; `stop` waits for what is still on
its way and prints the last counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import IO, Any

from whipray import _core
from whipray._private import log_dedup
from whipray._private.log_dedup import Line, Shown

MSG_DETACH = 3
MSG_LOG = 96
MSG_ENDED = 97
MSG_TROUBLE = 98
DRAINED = 0
"""Posted by `drain()`: what had come before has been printed."""
MARK = "\x01wr:name="
JOIN_SECONDS = 2.0

_PALETTE = (35, 36, 32, 90, 94, 95)
_CYAN, _GREEN, _YELLOW, _RESET = "\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


class Monitor:
    """One session's listener."""

    def __init__(self, print_logs: bool, plain: bool) -> None:
        self._print = print_logs
        self._plain = plain or os.environ.get("RAY_DISABLE_WORKER_LOG_PREFIX") == "1"
        self._dedup = log_dedup.from_environment()
        self._stopping = False
        self._drained = threading.Event()
        self._thread = threading.Thread(target=self._run, name="whipray-monitor", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def drain(self) -> None:
        """End the job and wait until its last output has been printed."""
        self._stopping = True
        if self._print and self._listens():
            with contextlib.suppress(Exception):
                _core.rpc(MSG_DETACH, _core.pack([]))
                _core.post_event(DRAINED)
                self._wait_until_drained()

    def _listens(self) -> bool:
        return self._thread.is_alive() and self._thread is not threading.current_thread()

    def _wait_until_drained(self) -> None:
        deadline = time.monotonic() + JOIN_SECONDS
        while self._listens() and time.monotonic() < deadline:
            if self._drained.wait(0.01):
                return

    def join(self) -> None:
        """After the detach: wait for the thread, print what is held back."""
        self._stopping = True
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)
        if self._dedup is not None and self._print:
            emit(self._dedup.flush(), self._plain)

    def _run(self) -> None:
        while True:
            try:
                event = _core.next_event(self._patience())
            except Exception:
                return
            if event is None:
                if self._dedup is not None:
                    emit(self._dedup.expire(time.monotonic()), self._plain)
                continue
            try:
                self._handle(*event)
            except Exception as error:
                complain(f"whipray: a message of the daemon could not be shown: {error!r}")

    def _patience(self) -> float | None:
        due = self._dedup.due() if self._dedup is not None and self._print else None
        return None if due is None else max(0.0, due - time.monotonic())

    def _handle(self, kind: int, body: bytes) -> None:
        if kind == MSG_LOG:
            if self._print:
                self._lines(lines_of(_core.unpack(body)))
        elif kind == DRAINED:
            self._drained.set()
        elif kind == MSG_ENDED:
            if not self._stopping:
                complain(f"whipray: the session has ended: {_text(_core.unpack(body)[0])}")
        elif kind == MSG_TROUBLE and self._print:
            complain(f"(whiprayd) {_text(_core.unpack(body)[0])}", _YELLOW)

    def _lines(self, lines: Iterable[Line]) -> None:
        now = time.monotonic()
        for line in lines:
            shown = [Shown(line, 1)] if self._dedup is None else self._dedup.add(line, now)
            emit(shown, self._plain)


def lines_of(fields: list[Any]) -> list[Line]:
    """The lines of a LOG event: [pid, slot, name, is_err, bytes]."""
    pid, slot, name, is_err, data = fields[:5]
    shown, found = _text(name) or _title(slot), []
    for text in _text(data).splitlines():
        if text.startswith(MARK):
            shown = text[len(MARK) :]
        else:
            found.append(Line(shown, pid, bool(is_err), text))
    return found


def _title(slot: int) -> str:
    """A process's title, for output that did not pass through its Python streams."""
    try:
        rows = _core.procs()
    except Exception:
        return ""
    title = next((row["title"] for row in rows if row["slot"] == slot), "")
    return str(title).removeprefix("ray::")


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")


def emit(shown: Iterable[Shown], plain: bool = False) -> None:
    """Print lines with their prefix unless `plain`, standard error to standard error."""
    for item in shown:
        stream = sys.stderr if item.line.is_err else sys.stdout
        _write(stream, f"{item.line.text}\n" if plain else formatted(item, coloured(stream)))


def formatted(item: Shown, colour: bool) -> str:
    """`(name pid=123) text`, and how often it came."""
    line = item.line
    prefix = f"({line.name} pid={line.pid})" if line.name else f"(pid={line.pid})"
    tail = f" [repeated {item.repeats}x across cluster]" if item.repeats > 1 else ""
    if colour:
        prefix = f"{_colour_of(line.pid)}{prefix}{_RESET}"
        tail = f"{_GREEN}{tail}{_RESET}" if tail else ""
    return f"{prefix} {line.text}{tail}\n"


def _colour_of(pid: int) -> str:
    """Cyan; with RAY_COLOR_PREFIX=1 one of six, so that processes can be told apart."""
    if os.environ.get("RAY_COLOR_PREFIX") != "1":
        return _CYAN
    return f"\x1b[{_PALETTE[pid % len(_PALETTE)]}m"


def coloured(stream: IO[str] | None) -> bool:
    """Colour only where a person looks, or where RAY_COLOR_PREFIX=1 asks for it."""
    choice = os.environ.get("RAY_COLOR_PREFIX")
    if choice is not None:
        return choice == "1"
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def complain(text: str, colour: str = "") -> None:
    """One line on standard error."""
    if colour and coloured(sys.stderr):
        text = f"{colour}{text}{_RESET}"
    _write(sys.stderr, f"{text}\n")


def _write(stream: IO[str] | None, text: str) -> None:
    """Streams may be closed or gone while the interpreter ends."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        try:
            stream.write(text)
        except UnicodeEncodeError as error:  # what the terminal has no letter for is spelled out
            stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        stream.flush()


_monitor: Monitor | None = None


def start(print_logs: bool, plain: bool) -> None:
    """Listen to the session that was just opened; `plain`: without a prefix before each line."""
    global _monitor
    monitor = Monitor(print_logs, plain)
    monitor.start()
    _monitor = monitor


def drain() -> None:
    """Before the detach: let the last lines arrive."""
    if _monitor is not None:
        _monitor.drain()


def stop() -> None:
    """After the detach."""
    global _monitor
    monitor, _monitor = _monitor, None
    if monitor is not None:
        monitor.join()
