"""``python -m benchmarks peers``: each peer and Whipray in turn, each in processes of its own."""

from __future__ import annotations

import argparse
import os
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine, report, runner
from benchmarks.commands import make_plan, results_folder, say, until_interrupted
from benchmarks.peers import table
from benchmarks.peers.pools import POOLS
from benchmarks.peers.rows import ROWS
from benchmarks.timing import Plan

PEERS_PYTHON = "WHIPRAY_BENCH_PEERS_PYTHON"
PROGRAM = "benchmarks.peers.side"


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = [name for name in POOLS if name != table.WHIPRAY]
    add(
        "--only",
        action="append",
        metavar="NAME",
        default=[],
        help=f"peers with this in their name, of {', '.join(names)}; may be given several times",
    )
    add("--quick", action="store_true", help="short windows and small counts: a look, no record")
    add("--passes", type=int, default=1, help="repeat the whole alternation (default 1)")
    add("--out", type=Path, metavar="DIR", help="default: benchmarks/results/<time>-peers")
    add(
        "--peers-python",
        default=os.environ.get(PEERS_PYTHON, sys.executable),
        metavar="PATH",
        help=f"interpreter that has the peers (default ${PEERS_PYTHON}, else this one)",
    )


def command(options: argparse.Namespace) -> int:
    peers = [
        runner.Side(name, name, options.peers_python, PROGRAM)
        for name in POOLS
        if name != table.WHIPRAY
        and (not options.only or any(part.lower() in name.lower() for part in options.only))
    ]
    if not peers:
        say(f"no peer is called {' '.join(options.only)}")
        return 2
    whipray = runner.Side(table.WHIPRAY, table.WHIPRAY, sys.executable, PROGRAM)
    out = results_folder(options.out, "-peers")
    plan = make_plan(options.quick, 2)
    results = report.Results(machine.identity(), plan.to_json())
    results.data["kind"] = "peers"
    for side in (whipray, *peers):
        probe(side, out)
        results.data["sides"][side.name] = vars(side)
    if whipray.unavailable:
        return 1
    run(whipray, [peer for peer in peers if not peer.unavailable], plan, options, out, results)
    results.save(out / "results.json")
    (out / "table.md").write_text(table.as_markdown(results))
    print(table.as_text(results))
    say(f"written to {out}")
    return 0


def probe(side: runner.Side, out: Path) -> None:
    """Find out the versions, or why the side is not run."""
    if not Path(side.python).exists():
        side.unavailable = f"no such interpreter: {side.python}"
    else:
        runner.probe(side, out / f"{side.name}.log")
    if "ModuleNotFoundError" in side.unavailable:
        side.unavailable = f"not installed for {side.python} ({side.unavailable})"
    if side.unavailable:
        say(f"{side.name} is not run: {side.unavailable}")


def run(
    whipray: runner.Side,
    peers: list[runner.Side],
    plan: Plan,
    options: argparse.Namespace,
    out: Path,
    results: report.Results,
) -> None:
    """Every row on each peer and on Whipray right before or after it."""
    by_key = {row.key: row for row in ROWS}

    def keep(peer: str, side: str, key: str, result: dict[str, Any]) -> None:
        say(report.one_line(by_key[key], side, result))
        results.add(by_key[key], side, deepcopy(result))
        if side == table.WHIPRAY:
            results.add(by_key[key], table.beside(peer), deepcopy(result))
        results.save(out / "results.json")

    def measure() -> None:
        for at, peer in enumerate(peers * options.passes):
            pair = [peer, whipray] if at % 2 else [whipray, peer]
            done = partial(keep, peer.name)
            runner.run_alternately(pair, list(ROWS), plan, len(ROWS), 1, out, say, True, done)

    until_interrupted(measure)
