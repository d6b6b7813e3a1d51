"""Runs C test programs one after another: a line each, and all output of those that fail.

usage: run_c_tests.py plain|asan|tsan program...
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENTS = {
    "plain": {},
    "asan": {
        "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "CHECK_SECONDS": "180",
    },
    "tsan": {
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:history_size=4",
        "CHECK_SECONDS": "240",
    },
}
SUMMARY = re.compile(r"^check: (\d+) passed, (\d+) failed$", re.MULTILINE)
FRAME = re.compile(r"^(/\S+|\S+/\S+)\(\+(0x[0-9a-f]+)\)\[0x[0-9a-f]+\]$", re.MULTILINE)


def launcher(kind: str) -> list[str]:
    """ThreadSanitizer cannot map its shadow where the kernel randomizes addresses widely."""
    if kind != "tsan":
        return []
    command = ["setarch", platform.machine(), "-R"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return []
    return command if allowed else []


def with_source_lines(output: str) -> str:
    """Names the functions and lines of the watchdog's stacks, which hold addresses only."""

    def name(match: re.Match[str]) -> str:
        command = ["addr2line", "-Cfpse", match.group(1), match.group(2)]
        try:
            found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:
            return match.group(0)
        return f"    {found}" if found else match.group(0)

    return FRAME.sub(name, output)


def run(program: str, prefix: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Runs one program, prints its line, and returns how many tests passed and failed."""
    started = time.monotonic()
    done = subprocess.run(
        [*prefix, program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    seconds = time.monotonic() - started
    counts = SUMMARY.findall(done.stdout)
    passed, failed = map(int, counts[-1]) if counts else (0, 0)
    if done.returncode and not failed:
        failed = 1
    if failed:
        print(with_source_lines(done.stdout), end="")
    verdict = "ok" if not failed else f"FAILED (exit code {done.returncode})"
    name = Path(program).name
    print(f"{name:<28} {passed:4} passed {failed:3} failed {seconds:7.2f} s  {verdict}", flush=True)
    return passed, failed


def main() -> int:
    kind, programs = sys.argv[1], sys.argv[2:]
    environment = os.environ | ENVIRONMENTS[kind]
    prefix = launcher(kind)
    results = [run(program, prefix, environment) for program in programs]
    passed = sum(result[0] for result in results)
    failed = sum(result[1] for result in results)
    print(f"C tests ({kind}): {passed} passed, {failed} failed in {len(programs)} programs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
