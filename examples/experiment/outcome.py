"""What a part of the experiment hands back: its checks, its two times and its files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Check:
    """One statement about an answer, and whether it holds."""

    statement: str
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """The result of one part; `parallel_seconds` and `loop_seconds` time the same work."""

    part: str
    amount: str
    parallel_seconds: float
    loop_seconds: float
    checks: tuple[Check, ...]
    files: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        return all(check.holds for check in self.checks)

    @property
    def speed_up(self) -> float:
        return self.loop_seconds / self.parallel_seconds


@dataclass
class Stopwatch:
    """Seconds of wall-clock time spent in a `with stopwatch():` block, known after its end."""

    seconds: float = field(default=0.0)


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    start = time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - start


def print_checks(console: Console, outcome: Outcome) -> None:
    """One line per check, and the files that were written."""
    for check in outcome.checks:
        mark = "[green]ok[/]" if check.holds else "[bold red]WRONG[/]"
        console.print(f"  {mark:<4} {check.statement}", highlight=False)
    for path in outcome.files:
        console.print(f"  [dim]wrote[/] {path}", highlight=False)


def print_summary(console: Console, outcomes: list[Outcome]) -> None:
    """The times of all parts, side by side with the plain loops."""
    table = Table(title="Same work, same answers", box=box.SIMPLE_HEAD)
    for heading in ("part", "work"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Whipray", "plain loop", "speed-up", "checks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(
            outcome.part,
            outcome.amount,
            f"{outcome.parallel_seconds:.2f} s",
            f"{outcome.loop_seconds:.2f} s",
            f"{outcome.speed_up:.2f} x",
            "[green]hold[/]" if outcome.passed else "[bold red]WRONG[/]",
        )
    console.print(table)
