"""What the machine and CPython allow at best, measured in the same run as the rows.

:func:`measure` returns raw figures; :func:`limit_of` turns them into the limit of one figure of a
row. A limit is a bound from below on the work that any engine has to do (a round trip, a call,
a copy); nobody needs to reach it, but the distance says how much is left.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks import cbuild, procs

Raw = dict[str, float]


def measure() -> tuple[Raw, list[str]]:
    """The raw figures (ns, ms, GB/s, bytes by their names) and what could not be measured."""
    raw, problems = python_limits(), []
    try:
        lines = cbuild.run(cbuild.HERE / "limits.c")
        raw.update({line["name"]: line["value"] for line in lines})
    except (cbuild.CannotBuild, subprocess.TimeoutExpired) as reason:
        problems.append(f"no limits from C: {reason}")
    raw["cores"] = float(len(os.sched_getaffinity(0)))
    return raw, problems


def median_raw(rounds: list[Raw]) -> Raw:
    """The median of each figure over several measurements."""
    names = {name for raw in rounds for name in raw}
    return {
        name: statistics.median(raw[name] for raw in rounds if name in raw)
        for name in sorted(names)
    }


def _ns_per_call(call: Callable[[], object], calls: int = 20_000) -> float:
    """Nanoseconds of ``call``, the loop taken off; best of 5, since noise only adds."""

    def loop(body: Callable[[], object] | None) -> int:
        steps = range(calls)
        start = time.perf_counter_ns()
        if body is None:
            for _ in steps:
                pass
        else:
            for _ in steps:
                body()
        return time.perf_counter_ns() - start

    empty = min(loop(None) for _ in range(5))
    return max(1.0, (min(loop(call) for _ in range(5)) - empty) / calls)


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass


async def _asyncio_costs() -> Raw:
    count = 20_000
    start = time.perf_counter_ns()
    for _ in range(count):
        await _nothing_async()
    awaited = time.perf_counter_ns()
    await asyncio.gather(*(_nothing_async() for _ in range(count)))
    gathered = time.perf_counter_ns()
    return {"await": (awaited - start) / count, "asyncio_task": (gathered - awaited) / count}


def _wall_ms(command: list[str], repeats: int = 7) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        if subprocess.run(command, capture_output=True).returncode:
            return float("nan")
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def _fork_once() -> tuple[float, int]:
    """Milliseconds from fork to the child's first byte, and the child's private memory."""
    reading, writing = os.pipe()
    hold_reading, hold_writing = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.write(writing, b"x")
        os.close(hold_writing)
        os.read(hold_reading, 1)
        os._exit(0)
    os.read(reading, 1)
    taken = (time.perf_counter() - start) * 1e3
    private = procs.memory(child).private
    os.close(hold_writing)
    os.waitpid(child, 0)
    for end in (reading, writing, hold_reading):
        os.close(end)
    return taken, private


def python_limits() -> Raw:
    """What CPython and process creation cost here."""
    small = (1, "two", 3.0)
    packed = pickle.dumps(small, 5)
    half_round = list(range(500))
    forks = [_fork_once() for _ in range(15)]
    raw: Raw = {
        "python_call": _ns_per_call(_nothing),
        "c_call": _ns_per_call("".isascii),
        "object": _ns_per_call(object),
        "pickle_dumps": _ns_per_call(lambda: pickle.dumps(small, 5)),
        "pickle_loads": _ns_per_call(lambda: pickle.loads(packed)),
        "list_copy_500": _ns_per_call(half_round.copy, 5_000),
        "fork_ms": statistics.median(taken for taken, _ in forks),
        "fork_private_bytes": statistics.median(float(private) for _, private in forks),
        "fork_exec_ms": _wall_ms(["/bin/true"]),
        "python_ms": _wall_ms([sys.executable, "-c", "pass"]),
        "python_numpy_ms": _wall_ms([sys.executable, "-c", "import numpy"]),
        **asyncio.run(_asyncio_costs()),
    }
    return {name: value for name, value in raw.items() if value == value}


def _sync_ns(raw: Raw) -> float:
    return raw["round_trip_spinning"] + raw["python_call"] + 2 * raw["c_call"]


def _pipelined_ns(raw: Raw) -> float:
    """The busier of the caller (one call to submit, one element to get) and the worker."""
    return max(2 * raw["c_call"], raw["python_call"])


def _pipelined_copies(raw: Raw, size: str, kib: int) -> float:
    """Pipelined calls per second when each copies an array into warm shared pages."""
    copy_ns = kib * 1024 / raw[f"copy_{size}"]
    return 1e9 / max(2 * raw["c_call"] + copy_ns, raw["python_call"])


FORMULAS: dict[str, tuple[str, Callable[[Raw], float]]] = {
    "c call": ("one call into C", lambda r: 1e9 / r["c_call"]),
    "c call time": ("one call into C", lambda r: r["c_call"] / 1e3),
    "c call on all cores": (
        "one call into C, on every core",
        lambda r: r["cores"] * 1e9 / r["c_call"],
    ),
    "sync call": (
        "spinning round trip, one Python call, two calls into C",
        lambda r: _sync_ns(r) / 1e3,
    ),
    "sync call rate": ("the same, per second", lambda r: 1e9 / _sync_ns(r)),
    "sync coroutine rate": (
        "the same and one await, per second",
        lambda r: 1e9 / (_sync_ns(r) + r["await"]),
    ),
    "call after idling": (
        "a message after 0.2 s idle to a process parked on another core, its answer met spinning, "
        "one Python call, two calls into C",
        lambda r: (r["round_trip_idle"] + r["python_call"] + 2 * r["c_call"]) / 1e3,
    ),
    "call on one core": (
        "round trip between two processes parked on one core, one Python call, two calls into C",
        lambda r: (r["round_trip_one_core"] + r["python_call"] + 2 * r["c_call"]) / 1e3,
    ),
    "parked round trip": (
        "round trip between parked processes",
        lambda r: r["round_trip_parked"] / 1e3,
    ),
    "parked round trip rate": (
        "round trips between parked processes",
        lambda r: 1e9 / r["round_trip_parked"],
    ),
    "pipelined rate": (
        "two calls into C in the caller or one Python call in the worker, whichever is more",
        lambda r: 1e9 / _pipelined_ns(r),
    ),
    "pipelined rate with argument": (
        "the same and one pickle of (1, 'two', 3.0), written in the caller and read in the worker",
        lambda r: (
            1e9 / max(2 * r["c_call"] + r["pickle_dumps"], r["python_call"] + r["pickle_loads"])
        ),
    ),
    "pipelined rate 1kib": ("calls or copies", lambda r: _pipelined_copies(r, "1kib", 1)),
    "pipelined rate 100kib": ("calls or copies", lambda r: _pipelined_copies(r, "100kib", 100)),
    "pipelined rate 1mib": ("calls or copies", lambda r: _pipelined_copies(r, "1mib", 1024)),
    "task after task": (
        "the pipelined rate as a time",
        lambda r: _pipelined_ns(r) / 1e3,
    ),
    "pipelined batch": ("the same, 1000 per batch", lambda r: 1e6 / _pipelined_ns(r)),
    "coroutine rate": ("one await", lambda r: 1e9 / max(r["await"], _pipelined_ns(r))),
    "10k small objects": ("making 10,000 objects", lambda r: 1e5 / r["object"]),
    "wait round": (
        "1000 x (two calls into C and a list copy of mean length 500)",
        lambda r: 1e6 / (2 * r["c_call"] + r["list_copy_500"]),
    ),
    "copy zero page": ("copy from zero pages to warm shared pages", lambda r: r["copy_zero"]),
    "copy zero page on all cores": (
        "the same, one process per core",
        lambda r: r["copy_zero_all_cores"],
    ),
    "copy zero page cold": (
        "copy from zero pages to shared pages never used before",
        lambda r: r["copy_zero_cold"],
    ),
    "copy zero page cold 1gib": (
        "the same, 1 GiB at once",
        lambda r: r["copy_zero_cold_1gib"],
    ),
    "copy cold": ("copy to shared pages never used before", lambda r: r["copy_cold"]),
    "copy cold 1gib": ("the same, 1 GiB at once", lambda r: r["copy_cold_1gib"]),
    "copy 1kib": ("copy to warm shared pages", lambda r: r["copy_1kib"]),
    "copy 64kib": ("copy to warm shared pages", lambda r: r["copy_64kib"]),
    "copy 16mib": ("copy to warm shared pages", lambda r: r["copy_16mib"]),
    "copy 100kib": ("copy to warm shared pages", lambda r: r["copy_100kib"]),
    "copy 1mib": ("copy to warm shared pages", lambda r: r["copy_1mib"]),
    "copy 100mib": ("copy to warm shared pages", lambda r: r["copy_100mib"]),
    "copy time 100mib": (
        "copy to warm shared pages",
        lambda r: 100 * 1024 * 1.024 / r["copy_100mib"],
    ),
    "copy time 1gib": ("copy to warm shared pages", lambda r: 1.024**3 / r["copy_100mib"]),
    "one copy": ("the array once", lambda _: 1.0),
    "all of it": ("every core at work", lambda _: 100.0),
    "fork": ("fork of CPython to its first byte", lambda r: r["fork_ms"]),
    "fork rate": ("fork of CPython to its first byte, per second", lambda r: 1e3 / r["fork_ms"]),
    "forked child": ("private memory of a forked CPython", lambda r: r["fork_private_bytes"] / 1e6),
    "fork and exec": ("fork, exec and exit of /bin/true", lambda r: r["fork_exec_ms"]),
    "python": ("python -c pass", lambda r: r["python_ms"]),
    "python with numpy": ("python -c 'import numpy'", lambda r: r["python_numpy_ms"]),
}


def limit_of(name: str | None, raw: Raw) -> float | None:
    """The limit called ``name``, or None where it has no formula or was not measured."""
    if name is None:
        return None
    try:
        return FORMULAS[name][1](raw)
    except KeyError:
        return None


def describe(name: str) -> str:
    """What the limit consists of, in words."""
    return FORMULAS[name][0]
