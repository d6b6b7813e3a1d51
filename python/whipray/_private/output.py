"""Standard output and error of a worker, marked with the name of what runs.

Before the first text that a task writes after another one did, a line `\\x01wr:name=<name>` goes
out, which also ends a line that the other one left unfinished.  The daemon takes these marks out
again and puts the name beside the lines.
"""

from __future__ import annotations

import io
import sys

from whipray import _core
from whipray._private import serving

MARK = "\x01wr:name="
NEWLINE = "\n"


class MarkedOutput(io.TextIOWrapper):
    """A line-buffered text stream that names the writer whenever it changes."""

    def __init__(self, descriptor: int) -> None:
        raw = io.FileIO(descriptor, "wb", closefd=False)
        super().__init__(
            io.BufferedWriter(raw),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        self._last_name = ""
        self._at_start = True

    def write(self, text: str) -> int:
        """Write, with a mark before it if the name is another one than last time."""
        if text:
            name = current_name()
            if name != self._last_name:
                self._last_name = name
                super().write(f"{'' if self._at_start else NEWLINE}{MARK}{name}\n")
            self._at_start = text.endswith("\n")
            if not self._at_start:
                _core.unfinished_output()
        return super().write(text)


def current_name() -> str:
    """What logs call the running work: the task's name, the actor's class or repr."""
    actor = serving.running.actor
    if actor is not None:
        return actor.shown.partition("\n")[0]
    job = _core.current_job()
    return "" if job is None or not job.name else job.name


def install() -> None:
    """Put marked streams in the place of this process's stdout and stderr."""
    sys.stdout = MarkedOutput(1)
    sys.stderr = MarkedOutput(2)
