"""The process of one peer: starts its pool, runs rows, reports as benchmarks.side does."""

from __future__ import annotations

import contextlib
import importlib
import json
import platform
import sys
import time

from benchmarks import side
from benchmarks.peers import work
from benchmarks.peers.pools import POOLS, Pool
from benchmarks.peers.rows import ROWS
from benchmarks.timing import Bench, Plan


class PoolBench(Bench):
    """A bench whose module is a pool."""

    def start_session(self) -> None:
        pool: Pool = self.ray
        pool.started = True
        pool.start()
        pool.calls(work.noop, 100)
        time.sleep(self.plan.warmup)


def versions(pool: Pool) -> dict[str, str]:
    """Versions of the peer, of NumPy and of the interpreter."""
    found = {**pool.versions(), "python": platform.python_version(), "executable": sys.executable}
    with contextlib.suppress(ImportError):
        found["numpy"] = str(importlib.import_module("numpy").__version__)
    return found


def main() -> int:
    options = side.parse()
    report = side.Report(options.report)
    plan = Plan(**json.loads(options.plan))
    pool = POOLS[options.module](plan.num_cpus)
    report.send("ready", versions=versions(pool))
    by_key = {row.key: row for row in ROWS}
    bench = PoolBench(pool, options.side, plan)
    side.run_rows([by_key[key] for key in options.rows], bench, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
