# mypy: disable-error-code="untyped-decorator, attr-defined"
"""Pipelined calls that carry an argument: small values and arrays, to a task and to an actor."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.rows.micro import numpy
from benchmarks.rows.registry import Figure, RowFunction, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Calls with an argument")

KIB = 1024
SMALL = {
    "int": 123_456,
    "str": "a short text",
    "tuple": (1, "two", 3.0),
    "dict": {"one": 1, "two": 2.0},
}
ARRAYS = {"1 KiB": KIB, "100 KiB": 100 * KIB, "1 MiB": 1024 * KIB}
BATCH = 1000
BATCH_BYTES = 100 * 1024 * KIB  # at most so much of a batch is on its way at a time


def task_takers(ray: Any) -> tuple[Any, Any]:
    """Two tasks with one argument: a no-op, and one that gives it back."""

    @ray.remote
    def take(_argument: Any) -> bytes:
        return b"ok"

    @ray.remote
    def echo(argument: Any) -> Any:
        return argument

    return take, echo


def actor_takers(ray: Any) -> tuple[Any, Any]:
    """The same as methods of one actor."""

    @ray.remote
    class Taker:
        def take(self, _argument: Any) -> bytes:
            return b"ok"

        def echo(self, argument: Any) -> Any:
            return argument

    actor = Taker.remote()
    return actor.take, actor.echo


TAKERS = {"task": task_takers, "actor": actor_takers}


def pipelined(bench: Bench, take: Any, argument: Any, batch: int) -> Values:
    """Calls per second, submitted in batches; the results of a batch before them are checked."""
    ray = bench.ray
    if ray.get([take.remote(argument) for _ in range(batch)]) != [b"ok"] * batch:
        raise AssertionError("a call gave a wrong result")
    return bench.rate(lambda: ray.get([take.remote(argument) for _ in range(batch)]), batch)


def small_row(where: str, argument: Any) -> RowFunction:
    def run(bench: Bench) -> Values:
        take, echo = TAKERS[where](bench.ray)
        if bench.ray.get(echo.remote(argument)) != argument:
            raise AssertionError("the argument arrived as something else")
        return pipelined(bench, take, argument, BATCH)

    return run


def object_row(where: str) -> RowFunction:
    def run(bench: Bench) -> Values:
        @dataclasses.dataclass
        class Reading:  # defined here, so that no worker can import it
            sensor: str
            value: float

            def scaled(self, factor: float) -> float:
                return self.value * factor

        return small_row(where, Reading("north", 1.5))(bench)

    return run


def keyword_row(where: str) -> RowFunction:
    def run(bench: Bench) -> Values:
        ray, (take, _) = bench.ray, TAKERS[where](bench.ray)

        def batch() -> Any:
            return ray.get([take.remote(_argument=1) for _ in range(BATCH)])

        if batch() != [b"ok"] * BATCH:
            raise AssertionError("a call gave a wrong result")
        return bench.rate(batch, BATCH)

    return run


def array_row(where: str, size: int) -> RowFunction:
    def run(bench: Bench) -> Values:
        np = numpy()
        array = np.arange(size, dtype=np.uint32).astype(np.uint8)
        take, echo = TAKERS[where](bench.ray)
        if not np.array_equal(bench.ray.get(echo.remote(array)), array):
            raise AssertionError("the array arrived as something else")
        values = pipelined(bench, take, array, min(BATCH, BATCH_BYTES // size))
        return {**values, "bandwidth": [rate * size / 1e9 for rate in values["rate"]]}

    return run


def declare_rows(where: str) -> None:
    """One row per small value and one per size of array."""
    for label, argument in SMALL.items():
        SECTION.row(
            f"{where}-arg-{label}",
            f"{where} calls with a small {label}",
            f"get of {BATCH} calls that take {argument!r}",
            Figure(
                "rate",
                "calls/s",
                limit="pipelined rate" if label == "int" else "pipelined rate with argument",
            ),
        )(small_row(where, argument))
    SECTION.row(
        f"{where}-arg-object",
        f"{where} calls with an instance of a data class of the script",
        f"get of {BATCH} calls that take it; the class goes by value",
        Figure("rate", "calls/s", limit="pipelined rate with argument"),
    )(object_row(where))
    SECTION.row(
        f"{where}-arg-keyword",
        f"{where} calls with a keyword",
        f"get of {BATCH} calls f.remote(name=1)",
        Figure("rate", "calls/s", limit="pipelined rate with argument"),
    )(keyword_row(where))
    for label, size in ARRAYS.items():
        key = label.replace(" ", "").lower()
        SECTION.row(
            f"{where}-arg-{key}",
            f"{where} calls with an array of {label}",
            f"get of {min(BATCH, BATCH_BYTES // size)} calls that take one written uint8 array",
            Figure("rate", "calls/s", limit=f"pipelined rate {key}"),
            Figure("bandwidth", "GB/s", limit=f"copy {key}"),
        )(array_row(where, size))


declare_rows("task")
declare_rows("actor")
