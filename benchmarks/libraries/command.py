"""``python -m benchmarks libraries``: programs of libraries on real Ray and on Whipray in turn."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import machine, report, runner
from benchmarks.commands import (
    keeper,
    make_plan,
    probed,
    results_folder,
    say,
    until_interrupted,
)
from benchmarks.libraries.rows import ROWS
from benchmarks.rows import Row

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


def command(options: argparse.Namespace) -> int:
    rows = [row for row in ROWS if not options.only or row.matches(options.only)]
    if not rows:
        say(f"no program is called {' '.join(options.only)}")
        return 2
    out = results_folder(options.out, "-libraries")
    plan = make_plan(options.quick, options.num_cpus)
    results = Results(machine.identity(), plan.to_json())
    results.data["kind"] = KIND
    sides = [
        runner.Side(name, name, options.libraries_python, PROGRAM) for name in ("ray", "whipray")
    ]
    able = probed(sides, out)
    for side in sides:
        results.data["sides"][side.name] = vars(side)
    passes = options.passes or (2 if options.quick else 5)
    done = keeper(results, rows, out)
    until_interrupted(
        lambda: runner.run_alternately(able, rows, plan, 1, passes, out, say, True, done)
    )
    results.save(out / "results.json")
    (out / "table.md").write_text(report.as_markdown(results))
    print(as_text(results))
    say(f"written to {out}")
    return 0 if able and not report.reasons(results) else 1


def as_text(results: report.Results) -> str:
    """The table for a terminal, also of a file that was loaded."""
    shown = Results({}, {})
    shown.data = results.data
    return report.as_text(shown)
