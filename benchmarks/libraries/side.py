"""The process of one program: `import ray` gives real Ray or Whipray, as the runner says."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks import side
from benchmarks.libraries.rows import ROWS
from benchmarks.timing import Bench, Plan

LIBRARIES = ("modin", "dask", "joblib", "scikit-learn", "pandas")


def versions(module: str) -> dict[str, str]:
    """Versions of the engine, the interpreter and the libraries."""
    found = side.versions(importlib.import_module(module))
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> int:
    options = side.parse()
    report = side.Report(options.report)
    if options.module == "whipray":
        import whipray.compat

        whipray.compat.install()
    import ray

    if not options.rows:
        report.send("ready", versions=versions(options.module))
        return 0
    by_key = {row.key: row for row in ROWS}
    bench = Bench(ray, options.side, Plan(**json.loads(options.plan)))
    side.run_rows([by_key[key] for key in options.rows], bench, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
