# mypy: disable-error-code="untyped-decorator, attr-defined"
"""Figures along an axis, for plots: callers, queued tasks, percentiles of the latency."""

from __future__ import annotations

import time

from benchmarks.rows.micro import noop_task, seconds_of_noops
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Curves")

CALLERS = (1, 2, 4, 8)
QUEUED = (100, 1_000, 10_000, 100_000, 1_000_000)
RAY_QUEUED_MOST = 10_000
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99, 99.9)


@SECTION.row(
    "curve-callers",
    "tasks from several callers at once",
    "that many actors (num_cpus=0) each submit 10,000 (Ray 1,000) no-op tasks and get them",
    *(Figure(f"{callers} callers", "tasks/s", limit="pipelined rate") for callers in CALLERS),
    timeout=300,
)
def curve_callers(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    each = bench.count(whipray=10_000, ray=1_000)

    @ray.remote(num_cpus=0)
    class Caller:
        def run(self) -> int:
            return int(ray.get([noop.remote() for _ in range(each)]).count(b"ok"))

    callers = [Caller.remote() for _ in range(CALLERS[-1])]
    ray.get([caller.run.remote() for caller in callers])
    values: Values = {}
    for count in CALLERS:
        rates = []
        for _ in range(bench.repeats(7, 2)):
            start = time.perf_counter()
            done = ray.get([caller.run.remote() for caller in callers[:count]])
            rates.append(count * each / (time.perf_counter() - start))
            if done != [each] * count:
                raise AssertionError("a task gave a wrong result")
        values[f"{count} callers"] = rates
    return values


@SECTION.row(
    "curve-queued",
    "tasks queued at once",
    "that many no-op tasks are submitted, then got and checked",
    *(Figure(f"{count:,} tasks", "tasks/s", limit="pipelined rate") for count in QUEUED),
    timeout=300,
)
def curve_queued(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    ray.get([noop.remote() for _ in range(100)])
    most = bench.count(whipray=QUEUED[-1], ray=RAY_QUEUED_MOST)
    values: Values = {}
    for count in QUEUED:
        if count <= most:
            rates = [count / seconds_of_noops(ray, noop, count) for _ in range(3)]
            values[f"{count:,} tasks"] = rates
    return values


@SECTION.row(
    "curve-latency",
    "task, percentiles of the latency",
    "get(noop.remote()), one after another",
    *(Figure(f"p{share:g}", "us", "lower") for share in PERCENTILES),
)
def curve_latency(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    return bench.latency(lambda: ray.get(noop.remote()), shares=PERCENTILES)
