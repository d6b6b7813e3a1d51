"""Run the programs on one engine and write what they saw.

python -m tests.differential.record ray            # renews answers.json, half an hour
python -m tests.differential.record whipray --out /tmp/here.json --only actors
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from .catalogue import Program, Ray, sessions
from .observe import Outcome, describe

ANSWERS = Path(__file__).with_name("answers.json")
ROOT = str(Path(__file__).resolve().parents[2])
PROGRAM_SECONDS = 120.0


def prepare() -> None:
    """Workers import the programs' modules by reference."""
    parts = (ROOT, os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.pop("OMP_NUM_THREADS", None)  # workers would keep what another test has set


def start(ray: Ray, init: dict[str, Any]) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    alone = {"include_dashboard": False, "address": "local"} if ray.__name__ == "ray" else {}
    ray.init(**quiet, **alone, **init)


def run(ray: Ray, program: Program) -> Any:
    """What a program saw; one that hangs or raises is an answer too."""
    seen: list[Any] = []

    def work() -> None:
        try:
            seen.append(describe(program.run(ray)))
        except Exception as error:
            seen.append({"escaped": describe(Outcome(error=error))})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PROGRAM_SECONDS)
    return seen[0] if seen else {"hangs": True}


def record(ray: Ray, only: list[str], out: Path) -> dict[str, Any]:
    """Run the chosen programs; what has been seen is saved after each."""
    answers: dict[str, Any] = {}
    if only and out.exists():
        answers = json.loads(out.read_text(encoding="utf-8"))
    for init, group in sessions():
        chosen = [entry for entry in group if not only or any(o in entry.name for o in only)]
        if not chosen:
            continue
        start(ray, init)
        for program in chosen:
            answers[program.name] = run(ray, program)
            print(f"{program.name}: {json.dumps(answers[program.name])[:150]}", flush=True)
            save(answers, out)
        ray.shutdown()
    return answers


def save(answers: dict[str, Any], path: Path) -> None:
    """One program a line, so that a change of one is a change of one line."""
    lines = (f"{json.dumps(name)}: {json.dumps(answers[name])}" for name in sorted(answers))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("engine", choices=("ray", "whipray"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", action="append", default=[], help="programs with this in a name")
    options = parser.parse_args()
    prepare()
    out = options.out or ANSWERS
    answers = record(importlib.import_module(options.engine), options.only, out)
    hung = [name for name, answer in answers.items() if answer == {"hangs": True}]
    print(f"{len(answers)} answers in {out}; hung: {hung or 'none'}")
    return 1 if hung else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
