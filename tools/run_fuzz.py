"""Runs fuzz targets: a line each, and all output of those that fail.

usage: run_fuzz.py replay INPUTS program...    the corpus, and so many inputs made from it
       run_fuzz.py engine SECONDS program...   libFuzzer; new inputs go to build/fuzz/corpus

An input that crashes or hangs a target is named in the output; the target run with that file as its
argument does it again.  What libFuzzer has executed is added up in build/fuzz/executions.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CORPUS = Path("tests/fuzz/corpus")
GROWN = Path("build/fuzz/corpus")
EXECUTIONS = Path("build/fuzz/executions.json")
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
EXECUTED = re.compile(r"number_of_executed_units:\s*(\d+)")


def replay(program: str, inputs: str) -> tuple[list[str], int]:
    corpus = CORPUS / Path(program).name.removeprefix("fuzz_")
    files = sum(1 for _ in corpus.iterdir())
    return [program, "--random", inputs, str(corpus)], files + int(inputs)


def engine(program: str, seconds: str) -> tuple[list[str], int]:
    topic = Path(program).name.removeprefix("fuzz_")
    grown = GROWN / topic
    grown.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-max_len=1024",
        "-len_control=20",
        "-print_final_stats=1",
        f"-artifact_prefix={GROWN}/{topic}-",
    ]
    return [program, *options, str(grown), str(CORPUS / topic)], 0


def add_up(name: str, inputs: int) -> None:
    """Inputs of each target over all runs, so that a campaign may be made in pieces."""
    total = json.loads(EXECUTIONS.read_text()) if EXECUTIONS.exists() else {}
    total[name] = total.get(name, 0) + inputs
    EXECUTIONS.write_text(json.dumps(total, indent=1) + "\n")
    print(f"{name:<28} {total[name]:9} inputs so far, all targets {sum(total.values())}")


def run(command: list[str], expected: int) -> bool:
    started = time.monotonic()
    done = subprocess.run(
        command,
        env=os.environ | ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    counted = EXECUTED.search(done.stdout)
    inputs = int(counted.group(1)) if counted else expected
    if counted:
        add_up(Path(command[0]).name, inputs)
    if done.returncode:
        print(done.stdout[-20000:])
        print("\n".join(f"the input is {path}" for path in Path("/tmp").glob("fuzz_*.last")))
    verdict = "ok" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"
    seconds = time.monotonic() - started
    print(f"{Path(command[0]).name:<28} {inputs:9} inputs {seconds:7.2f} s  {verdict}", flush=True)
    return done.returncode == 0


def main() -> int:
    how, amount, programs = sys.argv[1], sys.argv[2], sys.argv[3:]
    make = {"replay": replay, "engine": engine}[how]
    results = [run(*make(program, amount)) for program in programs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
