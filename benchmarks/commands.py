"""What the commands that run rows on several sides have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import report, runner
from benchmarks.rows import Row
from benchmarks.timing import Plan

RESULTS = Path(__file__).resolve().parent / "results"


def say(text: str) -> None:
    """Progress goes to standard error, the table to standard output."""
    print(text, file=sys.stderr, flush=True)


def results_folder(given: Path | None, suffix: str = "") -> Path:
    """The folder that was asked for, or a new one named after the time."""
    out = given or RESULTS / f"{datetime.now().strftime('%Y%m%d-%H%M%S')}{suffix}"
    out.mkdir(parents=True, exist_ok=True)
    return out


def make_plan(quick: bool, num_cpus: int) -> Plan:
    return Plan.short(num_cpus) if quick else replace(Plan(), num_cpus=num_cpus)


def probed(sides: list[runner.Side], out: Path) -> list[runner.Side]:
    """The sides that can be imported; says why the others cannot."""
    for side in sides:
        if not side.unavailable and not Path(side.python).exists():
            side.unavailable = f"no such interpreter: {side.python}"
        if not side.unavailable:
            runner.probe(side, out / f"{side.name}.log")
        if side.unavailable:
            say(f"{side.name} is not run: {side.unavailable}")
    return [side for side in sides if not side.unavailable]


def keeper(
    results: report.Results, rows: list[Row], out: Path
) -> Callable[[str, str, dict[str, Any]], None]:
    """A function that says a result, adds it, and saves all so far."""
    by_key = {row.key: row for row in rows}

    def keep(side: str, key: str, result: dict[str, Any]) -> None:
        say(report.one_line(by_key[key], side, result))
        results.add(by_key[key], side, result)
        results.save(out / "results.json")

    return keep


def until_interrupted(measure: Callable[[], None]) -> None:
    """Ctrl-C ends the measuring, not the command."""
    try:
        measure()
    except KeyboardInterrupt:
        say("interrupted: what has been measured so far follows")
