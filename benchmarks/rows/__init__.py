"""Every row of the benchmark, in the order in which it is run and shown."""

from benchmarks.rows import (
    arguments,
    arrays,
    client,
    curves,
    failures,
    graphs,
    honesty,
    latency,
    memory,
    micro,
    scale,
    startup,
)
from benchmarks.rows.registry import Figure, Missing, Row, collect

ROWS: tuple[Row, ...] = collect(
    micro,
    client,
    latency,
    arguments,
    arrays,
    scale,
    graphs,
    startup,
    memory,
    failures,
    honesty,
    curves,
)

__all__ = ["ROWS", "Figure", "Missing", "Row"]
