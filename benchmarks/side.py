"""One side of the comparison: a process that runs rows on whipray or on ray and reports them.

The runner starts it with the interpreter of that side. It writes one JSON object per line to
the file descriptor it was given: ``start`` and ``result`` for every row. It ends after the first
row that fails, since the session may be damaged; the runner starts another for the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.rows import ROWS, Missing, Row
from benchmarks.timing import Bench, Plan


class Report:
    """The line to the runner; not inherited by the processes that the module starts."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._file = os.fdopen(descriptor, "w", buffering=1)

    def send(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, **facts}) + "\n")


def versions(module: Any) -> dict[str, str]:
    """Versions of what this side runs on."""
    found = {
        module.__name__: str(getattr(module, "__version__", "unknown")),
        "path": str(Path(module.__file__).parent),
        "python": platform.python_version(),
        "executable": sys.executable,
    }
    with contextlib.suppress(ImportError):
        found["numpy"] = str(importlib.import_module("numpy").__version__)
    return found


def measure(row: Row, bench: Bench) -> dict[str, Any]:
    """Run one row; its values, or why it has none."""
    bench.notes = {}
    try:
        if row.session != "none" and not bench.ray.is_initialized():
            bench.start_session()
        values = row.run(bench)
    except Missing as reason:
        return {"status": "missing", "reason": str(reason)}
    except Exception as problem:
        text = f"{type(problem).__name__}: {problem}".strip()
        traceback.print_exc()
        return {"status": "failed", "reason": text[:500], "notes": bench.notes}
    return {"status": "ok", "values": values, "notes": bench.notes}


def run_rows(rows: list[Row], bench: Bench, report: Report) -> None:
    """Run the rows in order in one session, made before the first row that wants one."""
    ray = bench.ray
    try:
        for row in rows:
            report.send("start", row=row.key)
            result = measure(row, bench)
            report.send("result", row=row.key, **result)
            if result["status"] == "failed":
                return
    finally:
        report.send("shutdown")
        if ray.is_initialized():
            ray.shutdown()


def parse() -> argparse.Namespace:
    """What the runner puts on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side")
    parser.add_argument("--module", required=True)
    parser.add_argument("--side", required=True)
    parser.add_argument("--report", type=int, required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("rows", nargs="*")
    return parser.parse_args()


def main() -> int:
    options = parse()
    report = Report(options.report)
    module = importlib.import_module(options.module)
    if not hasattr(module, "remote"):
        sys.exit(f"the package {options.module} in this tree is not built or not complete")
    report.send("ready", versions=versions(module))
    by_key = {row.key: row for row in ROWS}
    bench = Bench(module, options.side, Plan(**json.loads(options.plan)))
    run_rows([by_key[key] for key in options.rows], bench, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
