"""What a row is, and how a module of rows declares them.

A row is a function of one :class:`benchmarks.timing.Bench`. It is written once, against
``bench.ray``, which is either ``whipray`` or the real ``ray``, and returns the values of each of
its figures, one value per timing window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from types import ModuleType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.timing import Bench

Values = dict[str, list[float]]
RowFunction = Callable[["Bench"], Values]
Session = Literal["shared", "fresh", "none"]


class Missing(Exception):
    """Raised by a row that this side cannot run; the text is the reason shown in the table."""


@dataclass(frozen=True)
class Figure:
    """One number of a row.

    ``limit`` names a formula of :mod:`benchmarks.limits`, or is None where no limit of the
    machine says anything about the figure.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] = "higher"
    limit: str | None = None


@dataclass(frozen=True)
class Row:
    """A row: its name, its definition in words, its figures and the function that measures.

    ``session``: "shared" runs inside an initialised session that other rows may use as well,
    "fresh" gets a process and a session of its own, "none" gets a process of its own and
    no session, because it makes one itself. ``ray_default`` is False for rows that take so long
    on Ray that they run there only when asked for. ``number`` is the place of the row in
    ``ray microbenchmark``, 0 for others.
    """

    key: str
    section: str
    title: str
    does: str
    figures: tuple[Figure, ...]
    run: RowFunction
    session: Session = "shared"
    timeout: float = 120.0
    ray_default: bool = True
    number: int = 0

    def matches(self, patterns: list[str]) -> bool:
        """Whether one of the patterns (part of the text, or shell wildcards) names this row."""
        texts = [self.key, self.title.lower(), self.section.lower()]
        return any(
            pattern.lower() in text or fnmatch(text, pattern.lower())
            for pattern in patterns
            for text in texts
        )


class Section:
    """A table of rows with one heading; a module of rows makes one and calls ``row`` on it."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[Row] = []

    def row(
        self,
        key: str,
        title: str,
        does: str,
        *figures: Figure,
        session: Session = "shared",
        timeout: float = 120.0,
        ray_default: bool = True,
        number: int = 0,
    ) -> Callable[[RowFunction], RowFunction]:
        """Declare the decorated function as a row of this section."""

        def declare(run: RowFunction) -> RowFunction:
            self.rows.append(
                Row(
                    key,
                    self.title,
                    title,
                    does,
                    figures,
                    run,
                    session,
                    timeout,
                    ray_default,
                    number,
                )
            )
            return run

        return declare


def collect(*modules: ModuleType) -> tuple[Row, ...]:
    """All rows of the modules' ``SECTION``, checked for unique keys."""
    rows = [row for module in modules for row in module.SECTION.rows]
    keys = [row.key for row in rows]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise ValueError(f"rows declared twice: {', '.join(sorted(doubled))}")
    return tuple(rows)
