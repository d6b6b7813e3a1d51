# mypy: disable-error-code="untyped-decorator, attr-defined"
"""What a session costs while it holds things or does nothing, over all of its processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import procs
from benchmarks.rows.micro import noop_task
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Memory and idle cost")

SETTLE_SECONDS = 1.0


@SECTION.row(
    "idle-cpu",
    "idle CPU",
    "CPU time of all processes together, 1 s after the last task ended",
    Figure("share", "% of a core", "lower"),
    session="fresh",
)
def idle_cpu(bench: Bench) -> Values:
    bench.worker_pids()
    time.sleep(SETTLE_SECONDS)
    shares = []
    for _ in range(bench.plan.windows):
        pids = procs.session_pids()
        before, start = procs.cpu_seconds(pids), time.perf_counter()
        time.sleep(bench.repeats(5, 2))
        used = procs.cpu_seconds(pids) - before
        shares.append(100 * used / (time.perf_counter() - start))
    bench.note(processes=len(procs.session_pids()))
    return {"share": shares}


@SECTION.row(
    "idle-memory",
    "idle memory",
    "private memory of a worker, and PSS of all processes together, 1 s after the last task ended",
    Figure("worker private", "MB", "lower", "forked child"),
    Figure("whole tree PSS", "MB", "lower"),
    Figure("processes", "processes", "lower"),
    session="fresh",
)
def idle_memory(bench: Bench) -> Values:
    workers = bench.worker_pids()
    time.sleep(SETTLE_SECONDS)
    private = [procs.memory(pid).private / 1e6 for pid in sorted(workers)]
    pids = procs.session_pids()
    return {
        "worker private": private,
        "whole tree PSS": [procs.total_pss(pids) / 1e6],
        "processes": [float(len(pids))],
    }


def growth_per_item(make: Callable[[int], list[Any]], count: int) -> tuple[float, list[Any]]:
    """Bytes of PSS that all processes of the session gain per item made; and the items."""
    earlier = make(count // 2)  # what has to be set up once is paid for by these
    before = procs.total_pss(procs.session_pids())
    items = make(count)
    after = procs.total_pss(procs.session_pids())
    return (after - before) / count, [*earlier, *items]


@SECTION.row(
    "memory-per-ref",
    "memory per small ref",
    "PSS gained by all processes per ref of put(int) that is kept, shared memory included",
    Figure("bytes", "B", "lower"),
    session="fresh",
    timeout=240,
)
def memory_per_ref(bench: Bench) -> Values:
    ray = bench.ray
    count = bench.count(whipray=200_000, ray=20_000)
    grown, _ = growth_per_item(lambda n: [ray.put(index) for index in range(n)], count)
    return {"bytes": [grown]}


@SECTION.row(
    "memory-per-task",
    "memory per queued task",
    "PSS gained by all processes per no-op task that waits while every CPU is taken",
    Figure("bytes", "B", "lower"),
    session="fresh",
    timeout=240,
)
def memory_per_task(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    ray.get([noop.remote() for _ in range(1000)])
    count = bench.count(whipray=200_000, ray=20_000)
    with tempfile.TemporaryDirectory(prefix="wrb-") as home:
        blockers = block_every_cpu(bench, Path(home))
        grown, refs = growth_per_item(lambda n: [noop.remote() for _ in range(n)], count)
        (Path(home) / "go").touch()
        ray.get(blockers)
        if any(result != b"ok" for result in ray.get(refs)):
            raise AssertionError("a task gave a wrong result")
    return {"bytes": [grown]}


def block_every_cpu(bench: Bench, home: Path) -> list[Any]:
    """Tasks that hold every CPU until the file "go" appears; returns once all are running."""
    ray = bench.ray

    @ray.remote
    def hold(mark: str, go: str) -> None:
        Path(mark).touch()
        while not Path(go).exists():
            time.sleep(0.02)

    count = bench.plan.num_cpus
    refs = [hold.remote(str(home / f"held{at}"), str(home / "go")) for at in range(count)]
    while len(list(home.glob("held*"))) < count:
        time.sleep(0.02)
    return refs


@SECTION.row(
    "memory-per-finished-task",
    "memory per finished task",
    "PSS gained by all processes per no-op task that has run and whose ref is kept",
    Figure("bytes", "B", "lower"),
    session="fresh",
    timeout=240,
)
def memory_per_finished_task(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    ray.get([noop.remote() for _ in range(1000)])
    count = bench.count(whipray=200_000, ray=20_000)

    def run_all(number: int) -> list[Any]:
        refs = [noop.remote() for _ in range(number)]
        ray.wait(refs, num_returns=number)
        return refs

    grown, _ = growth_per_item(run_all, count)
    return {"bytes": [grown]}
