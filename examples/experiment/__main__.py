"""`python -m examples.experiment`: run the experiment, print its answers, fail if one is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .engine import cpus, running
from .outcome import Outcome, print_checks, print_summary
from .parts import run_photos, run_search, run_training

PARTS = {"search": run_search, "training": run_training, "photos": run_photos}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; returns the exit status: 0 when every check holds, else 1."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    outcomes: list[Outcome] = []
    with running(options.num_cpus):
        for name in options.part:
            console.rule(name)
            outcome = PARTS[name](options.out, options.num_cpus, console)
            print_checks(console, outcome)
            outcomes.append(outcome)
    print_summary(console, outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.experiment", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="output directory")
    parser.add_argument("--num-cpus", type=_positive, default=cpus(), help="CPUs to use")
    parser.add_argument(
        "--part",
        choices=list(PARTS),
        action="append",
        help="run only this part; may be given more than once (default: all)",
    )
    options = parser.parse_args(arguments)
    options.part = options.part or list(PARTS)
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
