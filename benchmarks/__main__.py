"""The command line: ``python -m benchmarks [run | peers | instructions | c | ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import cbuild, curves, instructions, limits, machine, plot, report, runner
from benchmarks.commands import (
    keeper,
    make_plan,
    probed,
    results_folder,
    say,
    until_interrupted,
)
from benchmarks.libraries import command as libraries
from benchmarks.peers import command as peers
from benchmarks.peers import table as peers_table
from benchmarks.rows import ROWS, Row
from benchmarks.timing import Plan

RAY_PYTHON = "WHIPRAY_BENCH_RAY_PYTHON"
ROWS_PER_QUICK_SESSION = 8


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare Whipray with real Ray and with the limits of this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _run_options(commands.add_parser("run", help="run rows (the default)"))
    peers.add_options(
        commands.add_parser("peers", help="compare with other pools of processes than Ray")
    )
    libraries.add_options(
        commands.add_parser("libraries", help="run libraries that import ray on both")
    )
    instructions.add_options(
        commands.add_parser("instructions", help="count the instructions of each operation")
    )
    commands.add_parser("limits", help="measure and print the limits of the machine only")
    c = commands.add_parser("c", help="compile and run the C benchmarks in benchmarks/c")
    c.add_argument("--only", metavar="PATTERN", default="", help="part of a program's name")
    for name, text in (
        ("table", "print the table of a result file"),
        ("plot", "draw the plots of a result file beside it"),
    ):
        commands.add_parser(name, help=text).add_argument("file", type=Path)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["run", *arguments]
    return parser.parse_args(arguments)


def _run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--only",
        action="append",
        metavar="PATTERN",
        default=[],
        help="rows whose key, title or section matches; may be given several times",
    )
    add("--quick", action="store_true", help="short windows and small counts: a look, no record")
    add("--list", action="store_true", help="list the rows and end")
    add("--side", choices=("whipray", "ray", "both"), default="both")
    add("--out", type=Path, metavar="DIR", help="default: benchmarks/results/<time>")
    add("--passes", type=int, default=1, help="repeat the whole alternation (default 1)")
    add(
        "--rows-per-session",
        type=int,
        metavar="N",
        help=f"rows that share one session (default 1, {ROWS_PER_QUICK_SESSION} when quick)",
    )
    add("--num-cpus", type=int, default=2, help="CPUs of a session (default 2)")
    add(
        "--ray-python",
        default=os.environ.get(RAY_PYTHON),
        metavar="PATH",
        help=f"interpreter that has the real Ray (default ${RAY_PYTHON})",
    )
    add(
        "--whipray-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter for Whipray (default: this one)",
    )
    add("--all-on-ray", action="store_true", help="also on Ray: rows that take long there")


def chosen_rows(only: list[str]) -> list[Row]:
    return [row for row in ROWS if not only or row.matches(only)]


def list_rows(rows: list[Row]) -> None:
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            print(f"\n{section}")
        figures = ", ".join(f"{figure.name} [{figure.unit}]" for figure in row.figures)
        print(f"  {row.key:28} {row.title}: {row.does}; {figures}")


def sides_of(options: argparse.Namespace) -> list[runner.Side]:
    """The sides asked for, those that cannot run marked with the reason."""
    sides = []
    if options.side in ("ray", "both"):
        side = runner.Side("ray", "ray", options.ray_python or "")
        if not options.ray_python:
            side.unavailable = f"no interpreter given (--ray-python or ${RAY_PYTHON})"
        sides.append(side)
    if options.side in ("whipray", "both"):
        sides.append(runner.Side("whipray", "whipray", options.whipray_python))
    return sides


def run(options: argparse.Namespace) -> int:
    rows = chosen_rows(options.only)
    if not rows:
        say(f"no row matches {' '.join(options.only)}; see --list")
        return 2
    if options.list:
        list_rows(rows)
        return 0
    out = results_folder(options.out)
    plan = make_plan(options.quick, options.num_cpus)
    results = report.Results(machine.identity(), plan.to_json())
    sides = sides_of(options)
    able = probed(sides, out)
    first, problems = limits.measure()
    results.data["limits"], results.data["problems"] = first, problems
    if able:
        _run_rows(able, rows, plan, options, out, results)
        results.data["limits"] = limits.median_raw([first, limits.measure()[0]])
    for side in sides:
        results.data["sides"][side.name] = vars(side)
    finish(results, out)
    return 0 if able else 1


def _run_rows(
    sides: list[runner.Side],
    rows: list[Row],
    plan: Plan,
    options: argparse.Namespace,
    out: Path,
    results: report.Results,
) -> None:
    done = keeper(results, rows, out)
    size = options.rows_per_session or (ROWS_PER_QUICK_SESSION if plan.quick else 1)
    until_interrupted(
        lambda: runner.run_alternately(
            sides, rows, plan, size, options.passes, out, say, options.all_on_ray, done
        )
    )


def finish(results: report.Results, out: Path) -> None:
    """Write every form of the result and print the table."""
    results.save(out / "results.json")
    (out / "table.md").write_text(report.as_markdown(results))
    print(report.as_text(results))
    draw(results, out / "plot.png")
    say(f"written to {out}")


def draw(results: report.Results, path: Path) -> bool:
    """The comparison into `path`, the curves beside it."""
    drawn = True
    for save, to in ((plot.save, path), (curves.save, path.with_name("curves.png"))):
        try:
            save(results, to)
        except plot.CannotPlot as reason:
            say(str(reason))
            drawn = False
    return drawn


def run_c(only: str) -> int:
    """Compile and run the C programs; those that cannot be built are named with the reason."""
    failed = False
    for source in cbuild.programs():
        if only not in source.stem:
            continue
        try:
            lines = cbuild.run(source)
        except cbuild.CannotBuild as reason:
            print(f"{source.stem}: missing: {reason}")
            failed = failed or "not in this tree" not in str(reason)
            continue
        for line in lines:
            name = f"{source.stem}/{line['name']}"
            print(f"{name:44} {report.number(line['value']):>10} {line['unit']}")
    return int(failed)


def show_limits() -> int:
    raw, problems = limits.measure()
    for name, value in raw.items():
        print(f"{name:24} {report.number(value):>10}")
    print()
    for name in limits.FORMULAS:
        limit = limits.limit_of(name, raw)
        print(f"{name:28} {report.number(limit):>10}  {limits.describe(name)}")
    for problem in problems:
        say(problem)
    return 0


def main() -> int:
    options = parse(sys.argv[1:])
    if options.command == "run":
        return run(options)
    if options.command == "c":
        return run_c(options.only)
    if options.command == "peers":
        return peers.command(options)
    if options.command == "libraries":
        return libraries.command(options)
    if options.command == "instructions":
        return instructions.command(options)
    if options.command == "limits":
        return show_limits()
    results = report.Results.load(options.file)
    if options.command == "table":
        kinds: dict[str, Any] = {"peers": peers_table, libraries.KIND: libraries}
        print(kinds.get(results.data.get("kind", ""), report).as_text(results))
        return 0
    return 0 if draw(results, options.file.with_suffix(".png")) else 1


if __name__ == "__main__":
    sys.exit(main())
