"""``python -m benchmarks libraries``: programs of libraries on real Ray and on Whipray in turn."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine, report, runner
from benchmarks.libraries.rows import ROWS
from benchmarks.rows import Row
from benchmarks.timing import Plan

RESULTS = Path(__file__).resolve().parent.parent / "results"
LIBRARIES_PYTHON = "WHIPRAY_BENCH_LIBRARIES_PYTHON"
PROGRAM = "benchmarks.libraries.side"
KIND = "libraries"


class Results(report.Results):
    """What the programs have measured."""

    def rows(self) -> list[Row]:
        return [row for row in ROWS if row.key in self.data["rows"]]


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--only",
        action="append",
        metavar="PATTERN",
        default=[],
        help=f"programs of this name, of {', '.join(row.key for row in ROWS)}; several times",
    )
    add("--quick", action="store_true", help="a tenth of the data and two passes: a look")
    add("--passes", type=int, help="how often each program runs on each side (default 5)")
    add("--num-cpus", type=int, default=2, help="CPUs of a session (default 2)")
    add("--out", type=Path, metavar="DIR", help="default: benchmarks/results/<time>-libraries")
    add(
        "--libraries-python",
        default=os.environ.get(LIBRARIES_PYTHON, sys.executable),
        metavar="PATH",
        help=f"interpreter with real Ray and the libraries (default ${LIBRARIES_PYTHON})",
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def command(options: argparse.Namespace) -> int:
    rows = [row for row in ROWS if not options.only or row.matches(options.only)]
    if not rows:
        say(f"no program is called {' '.join(options.only)}")
        return 2
    out = options.out or RESULTS / f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-libraries"
    out.mkdir(parents=True, exist_ok=True)
    plan = (
        Plan.short(options.num_cpus)
        if options.quick
        else replace(Plan(), num_cpus=options.num_cpus)
    )
    results = Results(machine.identity(), plan.to_json())
    results.data["kind"] = KIND
    sides = [
        runner.Side(name, name, options.libraries_python, PROGRAM) for name in ("ray", "whipray")
    ]
    for side in sides:
        runner.probe(side, out / f"{side.name}.log")
        results.data["sides"][side.name] = vars(side)
        if side.unavailable:
            say(f"{side.name} is not run: {side.unavailable}")
    able = [side for side in sides if not side.unavailable]
    passes = options.passes or (2 if options.quick else 5)
    done = partial(_keep, results, out, {row.key: row for row in rows})
    try:
        runner.run_alternately(able, rows, plan, 1, passes, out, say, True, done)
    except KeyboardInterrupt:
        say("interrupted: what has been measured so far follows")
    results.save(out / "results.json")
    (out / "table.md").write_text(report.as_markdown(results))
    print(as_text(results))
    say(f"written to {out}")
    return 0 if able and not report.reasons(results) else 1


def _keep(
    results: Results, out: Path, rows: dict[str, Row], side: str, key: str, result: dict[str, Any]
) -> None:
    say(report.one_line(rows[key], side, result))
    results.add(rows[key], side, result)
    results.save(out / "results.json")


def as_text(results: report.Results) -> str:
    """The table for a terminal, also of a file that was loaded."""
    shown = Results({}, {})
    shown.data = results.data
    return report.as_text(shown)
