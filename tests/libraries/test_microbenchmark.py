"""Ray's own microbenchmark, from its wheel: each row once, those through Ray's client too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio
from ray._private import ray_client_microbenchmark, ray_microbenchmark_helpers, ray_perf

def once(name, fn, multiplier=1, warmup_time_sec=0):
    fn()
    print("ran", name)
    return [(name, multiplier, 0.0)]

async def once_there(name, fn, multiplier=1, warmup_time_sec=0):
    await fn()
    return once(name, lambda: None, multiplier)

for module in (ray_microbenchmark_helpers, ray_client_microbenchmark, ray_perf):
    module.timeit = once
    module.asyncio_timeit = once_there
ray_perf.main()
"""


def test_each_row_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "whipray", "run", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert len(rows) == len(set(rows)) > 20, rows
    assert len([row for row in rows if row.startswith("ran client: ")]) == 8, rows
