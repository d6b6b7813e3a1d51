"""Progress bars for workers: lines on their standard error, which the driver shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

RAY_TQDM_MAGIC = "__ray_tqdm_magic_token__"
"""Marks lines of Ray's bars for its log reader; no line here begins so."""


def safe_print(*args: Any, **kwargs: Any) -> None:
    """print()."""
    print(*args, **kwargs)


class tqdm:
    """Counts, and writes a line at most every `flush_interval_s` seconds."""

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
    ) -> None:
        sized: Any = iterable
        if total is None and hasattr(iterable, "__len__"):
            total = len(sized)
        self._iterable = iterable
        self._desc = desc or ""
        self.total = total
        self._unit = unit or "it"
        self._interval = 1.0 if flush_interval_s is None else flush_interval_s
        self.n = 0
        self._shown: tuple[float, int] = (0.0, -1)

    def set_description(self, desc: str) -> None:
        """The text in front of the numbers."""
        self._desc = desc
        self._show(False)

    def update(self, n: int = 1) -> None:
        """Count n more."""
        self.n += n
        self._show(False)

    def refresh(self) -> None:
        """Write the line now."""
        self._show(True)

    def close(self) -> None:
        """Write the last line."""
        self._show(True)

    def _show(self, at_once: bool) -> None:
        now = time.monotonic()
        when, count = self._shown
        if count == self.n or not (at_once or now - when >= self._interval):
            return
        self._shown = now, self.n
        of = f"/{self.total}" if self.total is not None else ""
        text = f"{self._desc}: {self.n}{of} {self._unit}"
        sys.stderr.write(text.removeprefix(": ") + "\n")

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise ValueError("this bar was made without an iterable")
        for item in self._iterable:
            yield item
            self.update()
        self.close()
