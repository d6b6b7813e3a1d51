"""The rows of the table of peers; ``bench.ray`` is a pool of benchmarks.peers.pools here."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import work
from benchmarks.rows.latency import MIB, written_array
from benchmarks.rows.micro import numpy
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.rows.startup import run_script
from benchmarks.timing import Bench

SECTION = Section("Whipray and its peers")
ARRAY_BYTES = 100 * MIB
TASKS = 10_000

START = """
import time
from benchmarks.peers import work
from benchmarks.peers.pools import POOLS

if __name__ == "__main__":
    pool = POOLS[{name!r}]({workers})
    start = time.perf_counter()
    pool.start()
    assert pool.call(work.noop) == b"ok"
    taken = time.perf_counter() - start
    pool.stop()
    print(taken)
"""


@SECTION.row(
    "start",
    "start to first result",
    "in a new interpreter, the imports done: start the pool, one no-op call",
    Figure("p50", "ms", "lower"),
    session="none",
)
def start(bench: Bench) -> Values:
    text = START.format(name=bench.ray.name, workers=bench.plan.num_cpus)
    return {"p50": [float(run_script(text)[1]) * 1e3 for _ in range(bench.repeats(7, 3))]}


@SECTION.row(
    "call",
    "no-op call, one after another",
    "submit one call, wait for its result",
    Figure("p50", "us", "lower"),
    Figure("p99", "us", "lower"),
)
def call(bench: Bench) -> Values:
    pool = bench.ray
    return bench.latency(lambda: pool.call(work.noop))


def checked(results: list[Any], count: int) -> None:
    if len(results) != count or any(result != b"ok" for result in results):
        raise AssertionError("a call gave a wrong result")


@SECTION.row(
    "calls",
    "10,000 no-op calls",
    "submit each by itself, then take and check every result",
    Figure("rate", "calls/s"),
)
def calls(bench: Bench) -> Values:
    pool, count = bench.ray, bench.count(TASKS, TASKS)
    return bench.rate(lambda: checked(pool.calls(work.noop, count), count), count)


@SECTION.row(
    "batch",
    "10,000 no-op calls, batch form",
    "the same in the pool's form for many small calls, mostly map with chunks",
    Figure("rate", "calls/s"),
)
def batch(bench: Bench) -> Values:
    pool, count = bench.ray, bench.count(TASKS, TASKS)
    bench.note(form=pool.batch_form)
    return bench.rate(lambda: checked(pool.batch(work.noop_of, count), count), count)


def in_ms(values: Values) -> Values:
    """The median alone, from microseconds: an array takes few windows enough calls for more."""
    return {"p50": [taken / 1e3 for taken in values["p50"]]}


@SECTION.row(
    "argument",
    "100 MiB array as argument",
    "a call takes a written array of the caller and returns one element",
    Figure("p50", "ms", "lower"),
)
def argument(bench: Bench) -> Values:
    pool, array = bench.ray, written_array(ARRAY_BYTES)
    array[0] = 7

    def once() -> None:
        if pool.call_with_array(work.first, array) != 7:
            raise AssertionError("the call saw another array")

    return in_ms(bench.latency(once))


@SECTION.row(
    "result",
    "100 MiB array as result",
    "a call makes and returns a written array",
    Figure("p50", "ms", "lower"),
)
def result(bench: Bench) -> Values:
    numpy()
    pool = bench.ray

    def once() -> None:
        if pool.call(work.ones, ARRAY_BYTES).nbytes != ARRAY_BYTES:
            raise AssertionError("the call returned another array")

    return in_ms(bench.latency(once))


ROWS = tuple(SECTION.rows)
