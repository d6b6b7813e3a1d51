"""Folds lines that many workers print alike.

The first process to print a line has it shown at once; the same line from other processes is
counted, and shown once more with the count when the window is over.  Pure code: the caller brings
the clock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

_VARYING = re.compile(r"\d+|0x[0-9a-fA-F]+")
WINDOW_SECONDS = 5.0


class Line(NamedTuple):
    """One line of a worker."""

    name: str
    pid: int
    is_err: bool
    text: str


class _Seen:
    """A line that was shown, and who has printed it since."""

    def __init__(self, when: float, line: Line) -> None:
        self.when = when
        self.last = line
        self.count = 0
        self.sources = {line.pid}


class Shown(NamedTuple):
    """A line to print; `repeats` > 1: how often it came since it was last shown."""

    line: Line
    repeats: int


class Deduplicator:
    """Decides which lines are shown."""

    def __init__(
        self,
        window: float = WINDOW_SECONDS,
        allow: str | None = None,
        skip: str | None = None,
    ) -> None:
        self._window = window
        self._allow = re.compile(allow) if allow else None
        self._skip = re.compile(skip) if skip else None
        self._seen: dict[tuple[bool, str], _Seen] = {}

    def add(self, line: Line, now: float) -> Iterator[Shown]:
        """What to print after `line` has come in at time `now`."""
        if self._skip is not None and self._skip.search(line.text):
            return
        if not line.text.strip() or (self._allow is not None and self._allow.search(line.text)):
            yield Shown(line, 1)
        else:
            yield from self._counted(line, now)
        yield from self.expire(now)

    def _counted(self, line: Line, now: float) -> Iterator[Shown]:
        key = line.is_err, canonical(line.text)
        seen = self._seen.get(key)
        if seen is None:
            self._seen[key] = _Seen(now, line)
            yield Shown(line, 1)
            return
        seen.sources.add(line.pid)
        if len(seen.sources) == 1:
            yield Shown(line, 1)  # one process repeats itself: that is what it wants
            return
        seen.count += 1
        seen.last = line

    def expire(self, now: float) -> Iterator[Shown]:
        """Counts whose window is over."""
        while self._seen:
            key = next(iter(self._seen))
            seen = self._seen[key]
            if now - seen.when < self._window:
                return
            del self._seen[key]
            if seen.count:
                yield Shown(seen.last, seen.count)

    def flush(self) -> Iterator[Shown]:
        """All counts, at the end of the session."""
        yield from self.expire(float("inf"))

    def due(self) -> float | None:
        """When the next count is due, None if there is none."""
        waiting = [seen.when for seen in self._seen.values() if seen.count]
        return min(waiting) + self._window if waiting else None


def canonical(text: str) -> str:
    """The line without the words that differ from process to process."""
    return " ".join(word for word in text.split() if not _VARYING.search(word))


def from_environment() -> Deduplicator | None:
    """As RAY_DEDUP_LOGS and its companions say; None: switched off."""
    if os.environ.get("RAY_DEDUP_LOGS", "1") == "0":
        return None
    return Deduplicator(
        float(os.environ.get("RAY_DEDUP_LOGS_AGG_WINDOW_S", WINDOW_SECONDS)),
        os.environ.get("RAY_DEDUP_LOGS_ALLOW_REGEX"),
        os.environ.get("RAY_DEDUP_LOGS_SKIP_REGEX"),
    )
