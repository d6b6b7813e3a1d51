# mypy: disable-error-code="untyped-decorator, attr-defined"
"""What the speed costs others: CPU time beyond the tasks' own, and how a crowded machine fares."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import procs
from benchmarks.rows.latency import p50_p99
from benchmarks.rows.micro import noop_task
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("CPU honesty")

TASKS_PER_SECOND = 1000
TASK_CPU_NS = 1_000_000
CROWD = 8
STEPS = 100_000
SLICES = 4  # of a window, each beside plain processes: the machine may be shared with others

# Plain processes that work from one moment on, given as the clock that all of them share.
PLAIN = """
import time
start, done = {start}, 0
time.sleep(max(0.0, start - time.monotonic()))
while time.monotonic() - start < {seconds}:
    sum(range({steps}))
    done += 1
print(done / (time.monotonic() - start))
"""
PLAIN_START_SECONDS = 0.3


@SECTION.row(
    "task-latency-one-core",
    "task, the whole session on one core",
    "get(noop.remote()), one after another, every process bound to one CPU from before init()",
    *p50_p99("call on one core"),
    session="none",
    timeout=240,
)
def task_latency_one_core(bench: Bench) -> Values:
    ray = bench.ray
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        bench.start_session()
        noop = noop_task(ray)
        if ray.get(noop.remote()) != b"ok":
            raise AssertionError("a task gave a wrong result")
        return bench.latency(lambda: ray.get(noop.remote()))
    finally:
        os.sched_setaffinity(0, cpus)


def paced(seconds: float, act: Callable[[], Any]) -> None:
    """Call ``act`` at the rate of the row, asleep in between; late calls are made up for."""
    start = time.perf_counter()
    for step in range(int(seconds * TASKS_PER_SECOND)):
        early = start + step / TASKS_PER_SECOND - time.perf_counter()
        if early > 0:
            time.sleep(early)
        act()


def pacing_cpu(seconds: float) -> float:
    """CPU seconds that keeping the pace takes when nothing else is done."""
    before = time.process_time()
    paced(seconds, lambda: None)
    return time.process_time() - before


@SECTION.row(
    "cpu-beyond-tasks",
    "CPU beyond the tasks' own",
    f"{TASKS_PER_SECOND} tasks a second of 1 ms CPU each: CPU time of all processes, without what "
    "the tasks measured of themselves and without what the driver needs to keep the pace",
    Figure("share", "% of a core", "lower"),
    session="fresh",
)
def cpu_beyond_tasks(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def work() -> int:
        start = time.thread_time_ns()
        while time.thread_time_ns() - start < TASK_CPU_NS:
            pass
        return time.thread_time_ns() - start

    def run_paced(seconds: float) -> tuple[float, float]:
        """CPU seconds beyond the tasks' own, and seconds until the last result was there."""
        refs: list[Any] = []
        pids = procs.session_pids()
        before, start = procs.cpu_seconds(pids), time.perf_counter()
        paced(seconds, lambda: refs.append(work.remote()))
        own = ray.get(refs)
        taken = time.perf_counter() - start
        used = procs.cpu_seconds(pids) - before
        used += procs.cpu_seconds(procs.session_pids() - pids)  # of workers started meanwhile
        if min(own) < TASK_CPU_NS:
            raise AssertionError("a task did less than its work")
        return used - sum(own) / 1e9, taken

    seconds = float(bench.repeats(5, 2))
    ray.get([work.remote() for _ in range(100)])
    shares, rates = [], []
    for _ in range(bench.plan.windows):
        pacing = pacing_cpu(seconds)
        beyond, taken = run_paced(seconds)
        shares.append(100 * (beyond - pacing) / taken)
        rates.append(seconds * TASKS_PER_SECOND / taken)
    bench.note(tasks_per_second=rates)
    return {"share": shares}


def plain_rate(seconds: float) -> float:
    """Tasks per second of as many plain processes as there are workers, all at the same time."""
    start = time.monotonic() + PLAIN_START_SECONDS
    script = PLAIN.format(start=start, seconds=seconds, steps=STEPS)
    running = [
        subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(CROWD)
    ]
    return sum(float(process.communicate()[0]) for process in running)


@SECTION.row(
    "crowd",
    "8 workers on the cores of the machine",
    "num_cpus=8 whatever the machine has; tasks of sum(range(100,000)), all queued at once or in "
    "rounds of 8 that are got before the next; throughput in % of 8 plain processes",
    Figure("queued", "%", limit="all of it"),
    Figure("rounds", "%", limit="all of it"),
    session="none",
    timeout=240,
)
def crowd(bench: Bench) -> Values:
    ray = bench.ray
    ray.init(**{**bench.init_options(), "num_cpus": CROWD})

    @ray.remote
    def work() -> int:
        return sum(range(STEPS))

    def check(results: list[int]) -> None:
        if any(result != STEPS * (STEPS - 1) // 2 for result in results):
            raise AssertionError("a task gave a wrong result")

    def queued(count: int) -> float:
        start = time.perf_counter()
        check(ray.get([work.remote() for _ in range(count)]))
        return count / (time.perf_counter() - start)

    def rounds(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            check(ray.get([work.remote() for _ in range(CROWD)]))
        return CROWD * count / (time.perf_counter() - start)

    values: Values = {"queued": [], "rounds": []}
    slice_seconds = bench.plan.window / SLICES
    for _ in range(20):
        queued(5 * CROWD)  # until a worker for each of the CPUs claimed lives
    for _ in range(SLICES * bench.plan.windows):
        plain = plain_rate(slice_seconds)
        count = int(plain * slice_seconds)
        values["queued"].append(100 * queued(count) / plain)
        values["rounds"].append(100 * rounds(count // CROWD) / plain)
    bench.note(plain_tasks_per_second=plain)
    return values
