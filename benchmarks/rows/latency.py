# mypy: disable-error-code="untyped-decorator, attr-defined"
"""How long one call takes: tasks, actor calls, put and get by size, arguments and results."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.rows.micro import noop_task, numpy, plain_actor
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Latency")

KIB, MIB = 1024, 1024 * 1024
SIZES = {"8 B": 8, "1 KiB": KIB, "100 KiB": 100 * KIB, "1 MiB": MIB, "100 MiB": 100 * MIB}
IDLE_SECONDS = 0.2


def p50_p99(limit: str | None) -> tuple[Figure, Figure]:
    """The two figures of a latency row."""
    return Figure("p50", "us", "lower", limit), Figure("p99", "us", "lower")


def written_array(size: int) -> Any:
    """A NumPy array of ``size`` bytes, every page of it written."""
    np = numpy()
    array = np.empty(size, dtype=np.uint8)
    array[:] = np.arange(size, dtype=np.uint64) % 251
    return array


@SECTION.row(
    "task-latency",
    "task, calls following each other",
    "get(noop.remote()), one after another",
    *p50_p99("sync call"),
)
def task_latency(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    return bench.latency(lambda: ray.get(noop.remote()))


@SECTION.row(
    "task-latency-idle",
    "task, after idling",
    f"get(noop.remote()) after {IDLE_SECONDS} s idle",
    *p50_p99("call after idling"),
)
def task_latency_idle(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    calls = bench.repeats(50, 10)
    return bench.latency(
        lambda: ray.get(noop.remote()), max_calls=calls, min_calls=calls, pause=IDLE_SECONDS
    )


@SECTION.row(
    "task-submit",
    "task, submit only",
    "noop.remote(), mean over 1000 submits; their get is not timed",
    Figure("mean", "us", "lower", "c call time"),
)
def task_submit(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    means = []
    ray.get([noop.remote() for _ in range(1000)])
    for _ in range(bench.repeats(20, 5)):
        start = time.perf_counter()
        refs = [noop.remote() for _ in range(1000)]
        means.append((time.perf_counter() - start) * 1e6 / 1000)
        ray.get(refs)
    return {"mean": means}


@SECTION.row(
    "actor-latency",
    "actor call, calls following each other",
    "get(actor.call.remote()), one after another",
    *p50_p99("sync call"),
)
def actor_latency(bench: Bench) -> Values:
    ray = bench.ray
    actor = plain_actor(ray).remote()
    return bench.latency(lambda: ray.get(actor.call.remote()))


@SECTION.row(
    "actor-latency-idle",
    "actor call, after idling",
    f"get(actor.call.remote()) after {IDLE_SECONDS} s idle",
    *p50_p99("call after idling"),
)
def actor_latency_idle(bench: Bench) -> Values:
    ray = bench.ray
    actor = plain_actor(ray).remote()
    calls = bench.repeats(50, 10)
    return bench.latency(
        lambda: ray.get(actor.call.remote()), max_calls=calls, min_calls=calls, pause=IDLE_SECONDS
    )


def with_bandwidth(values: Values, size: int) -> Values:
    """The values with the bandwidth in GB/s that the median latencies amount to."""
    return {**values, "bandwidth": [size / (taken * 1e3) for taken in values["p50"]]}


def declare_sizes() -> None:
    """One put row and one get row per size."""
    for label, size in SIZES.items():
        key = label.replace(" ", "").lower()
        figures = list(p50_p99("c call time"))
        if size >= 100 * KIB:
            figures = [*p50_p99(None), Figure("bandwidth", "GB/s", "higher", f"copy {key}")]
        SECTION.row(
            f"put-{key}",
            f"put array of {label}",
            f"put of one written uint8 array of {label}, the ref dropped, the store warm",
            *figures,
        )(put_row(size))
        SECTION.row(
            f"get-{key}",
            f"get array of {label}",
            f"get of one ref to a local array of {label}",
            *p50_p99("c call time"),
        )(get_row(size))


def put_row(size: int) -> Any:
    def put(bench: Bench) -> Values:
        ray = bench.ray
        array = written_array(size)
        values = bench.latency(lambda: ray.put(array))
        return with_bandwidth(values, size) if size >= 100 * KIB else values

    return put


def get_row(size: int) -> Any:
    def get(bench: Bench) -> Values:
        ray = bench.ray
        ref = ray.put(written_array(size))
        return bench.latency(lambda: ray.get(ref))

    return get


declare_sizes()


@SECTION.row(
    "argument-by-ref",
    "100 MiB array passed by ref",
    "a task takes a ref to a 100 MiB array and returns one element",
    *p50_p99("sync call"),
)
def argument_by_ref(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def first(array: Any) -> int:
        return int(array[0])

    ref = ray.put(written_array(100 * MIB))
    return bench.latency(lambda: ray.get(first.remote(ref)))


@SECTION.row(
    "argument-by-value",
    "100 MiB array passed by value",
    "a task takes a 100 MiB array of the caller and returns one element, the store warm",
    *p50_p99("copy time 100mib"),
)
def argument_by_value(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def first(array: Any) -> int:
        return int(array[0])

    array = written_array(100 * MIB)
    return bench.latency(lambda: ray.get(first.remote(array)))


@SECTION.row(
    "result-array",
    "100 MiB array returned by a task",
    "a task makes and returns a written 100 MiB array; the caller gets it",
    *p50_p99("copy time 100mib"),
)
def result_array(bench: Bench) -> Values:
    ray = bench.ray
    numpy()

    @ray.remote
    def make(size: int) -> Any:
        import numpy as np

        return np.ones(size, dtype=np.uint8)

    return bench.latency(lambda: ray.get(make.remote(100 * MIB)))
