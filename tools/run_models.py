"""Checks the Promela models of tests/models with spin: each must hold, and must fail when one of
its mutations takes a step away that it claims to need.

usage: run_models.py [model.pml...]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODELS = Path(__file__).resolve().parents[1] / "tests/models"
MUTATION = re.compile(r"^ \*(?: Mutations:)? +([A-Z_]+) \(", re.MULTILINE)
ERRORS = re.compile(r"errors: (\d+)")
STATES = re.compile(r"^\s*([\d.e+]+) states, stored", re.MULTILINE)
SEARCH_DEPTH = 200_000
MEMORY_MIB = 2048


def search(model: Path, switches: list[str]) -> tuple[bool, str, str]:
    """Explores every interleaving: does the model hold, how many states, and all output."""
    with tempfile.TemporaryDirectory() as directory:

        def run(*command: str) -> str:
            done = subprocess.run(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode and command[0] != "./pan":
                raise SystemExit(f"{model.name} {switches}: {command[0]} failed\n{done.stdout}")
            return done.stdout

        run("spin", "-a", *(f"-D{switch}" for switch in switches), str(model))
        flags = ["-O1", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}"]
        run("gcc", *flags, "pan.c", "-o", "pan")
        log = run("./pan", f"-m{SEARCH_DEPTH}")
    errors, states = ERRORS.search(log), STATES.search(log)
    complete = "Search not completed" not in log and "max search depth too small" not in log
    holds = bool(errors and errors.group(1) == "0" and complete)
    if not errors:
        raise SystemExit(f"{model.name} {switches}: spin has given no answer\n{log}")
    return holds, states.group(1) if states else "?", log


def check(model: Path) -> list[str]:
    """The complaints about one model; prints a line for each search."""
    mutations = MUTATION.findall(model.read_text())
    complaints = [] if mutations else [f"{model.name} names no mutation"]
    for mutation in ["", *mutations]:
        started = time.monotonic()
        holds, states, log = search(model, [mutation] if mutation else [])
        verdict = "holds" if holds else "fails"
        if holds == bool(mutation):
            verdict += ", and must not"
            complaints.append(f"{model.name} {mutation}: {verdict}\n{'' if mutation else log}")
        name = f"{model.stem} {mutation}"
        print(f"{name:<24} {states:>9} states {time.monotonic() - started:6.2f} s  {verdict}")
    return complaints


def main() -> int:
    models = [Path(name).resolve() for name in sys.argv[1:]] or sorted(MODELS.glob("*.pml"))
    with ThreadPoolExecutor(2) as pool:
        complaints = [text for found in pool.map(check, models) for text in found]
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
