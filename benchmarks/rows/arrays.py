# mypy: disable-error-code="untyped-decorator, attr-defined"
"""Large arrays in the store: put by size, cold and warm; born there by a task; read by many."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import procs
from benchmarks.rows.micro import numpy
from benchmarks.rows.registry import Figure, Missing, RowFunction, Section, Values
from benchmarks.timing import Bench, percentile

SECTION = Section("Arrays in the store")

KIB, MIB, GIB = 1024, 1024**2, 1024**3
PUT_SIZES = {
    "64 KiB": 64 * KIB,
    "1 MiB": MIB,
    "16 MiB": 16 * MIB,
    "256 MiB": 256 * MIB,
    "1 GiB": GIB,
    "4 GiB": 4 * GIB,
}
SHARED_SIZES = {"1 MiB": MIB, "100 MiB": 100 * MIB, "1 GiB": GIB, "4 GiB": 4 * GIB}
BORN_SIZES = {"1 MiB": MIB, "100 MiB": 100 * MIB}
COLD_BYTES = 64 * MIB  # small arrays are put so often that they fill this much new memory
PAGE_WORDS = 4096 // 8
READERS = 8
READERS_START_WITHIN = 60.0
SMALL_STORE = 512 * MIB
FREED_WITHIN = 1.0  # seconds in which memory that nobody refers to is there for the next array


def paged_array(size: int) -> Any:
    """An int64 array of ``size`` bytes, all written, each page starting with its number."""
    np = numpy()
    array = np.full(size // 8, 7, dtype=np.int64)
    array[::PAGE_WORDS] = np.arange(len(array[::PAGE_WORDS]))
    return array


def available_memory() -> int:
    """Bytes that the kernel can give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def require_room(bench: Bench, in_store: int, outside: int) -> None:
    """Raise Missing unless the store and the machine can hold so many bytes."""
    store = bench.ray.cluster_resources().get("object_store_memory", 0)
    if in_store > 0.9 * store:
        raise Missing(f"the store has only {store / GIB:.1f} GiB")
    free = available_memory()
    if in_store + outside > 0.8 * free:
        raise Missing(f"only {free / GIB:.1f} GiB of memory are available")


def refuse_when_quick(bench: Bench, size: int) -> None:
    """Raise Missing for sizes whose pages alone take long to come by."""
    if bench.plan.quick and size > GIB:
        raise Missing("takes long: not in a quick run")


def put_rates(bench: Bench, array: Any) -> Values:
    """GB/s of puts into memory that the session has never used, and into memory it has."""
    ray, np = bench.ray, numpy()
    size, count = array.nbytes, max(1, COLD_BYTES // array.nbytes)
    start = time.perf_counter()
    refs = [ray.put(array) for _ in range(count)]
    cold = time.perf_counter() - start
    if not np.array_equal(ray.get(refs[-1])[::PAGE_WORDS], array[::PAGE_WORDS]):
        raise AssertionError("get gave another array than was put")
    del refs
    values = bench.latency(lambda: ray.put(array), min_calls=1 if size >= GIB else 3)
    return {
        "cold": [size * count / (cold * 1e9)],
        "warm": [size / (taken * 1e3) for taken in values["p50"]],
    }


def written_row(size: int) -> RowFunction:
    def run(bench: Bench) -> Values:
        numpy()
        refuse_when_quick(bench, size)
        require_room(bench, in_store=max(size, COLD_BYTES), outside=size)
        return put_rates(bench, paged_array(size))

    return run


def zeros_row(size: int) -> RowFunction:
    def run(bench: Bench) -> Values:
        np = numpy()
        refuse_when_quick(bench, size)
        require_room(bench, in_store=max(size, COLD_BYTES), outside=0)
        return put_rates(bench, np.zeros(size // 8, dtype=np.int64))

    return run


def declare_puts() -> None:
    """Two rows per size: written memory, and memory that was never written."""
    for label, size in PUT_SIZES.items():
        key = label.replace(" ", "").lower()
        warm = f"copy {key}" if size < 100 * MIB else "copy 100mib"
        cold = "copy cold 1gib" if size >= GIB else "copy cold"
        SECTION.row(
            f"put-written-{key}",
            f"put written {label}",
            f"put of a written array, in a new session; cold: the first {max(size, COLD_BYTES):,} "
            "bytes of the session, all kept; warm: the ref dropped each time",
            Figure("cold", "GB/s", limit=cold),
            Figure("warm", "GB/s", limit=warm),
            session="fresh",
            timeout=240,
        )(written_row(size))
    for label, size in PUT_SIZES.items():
        key = label.replace(" ", "").lower()
        warm = f"copy {key}" if size <= MIB else "copy zero page"
        cold = "copy zero page cold 1gib" if size >= GIB else "copy zero page cold"
        SECTION.row(
            f"put-zeros-{key}",
            f"put unwritten {label}",
            "the same with np.zeros, no page of which was ever written",
            Figure("cold", "GB/s", limit=cold),
            Figure("warm", "GB/s", limit=warm),
            session="fresh",
            timeout=240,
        )(zeros_row(size))


declare_puts()


class Step:
    """Milliseconds of each step in the life of an array that is put, over several lives."""

    def __init__(self) -> None:
        self.taken: Values = {}
        self.since = time.perf_counter()

    def begin(self) -> None:
        self.since = time.perf_counter()

    def end(self, name: str) -> None:
        now = time.perf_counter()
        self.taken.setdefault(name, []).append(1e3 * (now - self.since))
        self.since = time.perf_counter()


def live_once(bench: Bench, size: int, scope: Any, step: Step, first: str) -> Any:
    """Make, fill and put an array; read it and write it again; what was stored is as it was."""
    ray, np = bench.ray, numpy()
    step.begin()
    with scope():
        array = np.empty(size // 8, dtype=np.int64)
    array.fill(7)
    step.end(f"{first}fill")
    ref = ray.put(array)
    step.end(f"{first}put")
    total = int(array.sum())
    step.end(f"{first}read")
    array.fill(9)
    step.end(f"{first}write")
    del array
    step.end(f"{first}free")
    value = ray.get(ref)
    if total != 7 * len(value) or value[0] != 7 or value[-1] != 7:
        raise AssertionError("the stored value is another array")
    return ref


def life_row(size: int, shared: bool) -> RowFunction:
    def run(bench: Bench) -> Values:
        numpy()
        refuse_when_quick(bench, size)
        require_room(bench, in_store=2 * max(size, COLD_BYTES), outside=size)
        scope = getattr(bench.ray.util, "shared_arrays", None) if shared else nullcontext
        if scope is None:
            raise Missing("has no such arrays")
        step, count = Step(), max(1, COLD_BYTES // size)
        refs = [live_once(bench, size, scope, step, "first ") for _ in range(count)]
        refs.clear()
        for _ in range(bench.repeats(7 if size < GIB else 3, 2)):
            live_once(bench, size, scope, step, "")  # the reference is dropped
        return step.taken

    return run


def declare_lives() -> None:
    """Two rows per size: arrays made within shared_arrays(), and ordinary ones."""
    steps = [
        Figure(first + name, "ms", "lower")
        for first in ("first ", "")
        for name in ("fill", "put", "read", "write", "free")
    ]
    for label, size in SHARED_SIZES.items():
        for shared in (True, False):
            kind = "shared" if shared else "ordinary"
            SECTION.row(
                f"life-{kind}-{label.replace(' ', '').lower()}",
                f"{kind} array of {label}",
                "made and filled, put, read, filled again, gone; first: in memory that the session "
                "has never used; later: the ref dropped each time"
                + ("; made within util.shared_arrays()" if shared else ""),
                *steps,
                session="fresh",
                timeout=240,
            )(life_row(size, shared))


declare_lives()


def born_row(size: int) -> RowFunction:
    def run(bench: Bench) -> Values:
        ray = bench.ray
        numpy()

        @ray.remote
        def make(words: int) -> Any:
            import numpy as np

            start = time.perf_counter_ns()
            array = np.full(words, 7, dtype=np.int64)
            array[0] = time.perf_counter_ns() - start
            return array

        fills: list[int] = []
        rests: list[int] = []

        def make_and_get() -> None:
            start = time.perf_counter_ns()
            array = ray.get(make.remote(size // 8))
            taken = time.perf_counter_ns() - start
            fills.append(int(array[0]))
            rests.append(taken - fills[-1])
            if array.nbytes != size or array[1] != 7 or array[-1] != 7:
                raise AssertionError("the task's array arrived as something else")

        whole = bench.latency(make_and_get)["p50"]
        return {
            "whole": whole,
            "NumPy": [percentile(sorted(fills), 0.5) / 1e3],
            "rest": [percentile(sorted(rests), 0.5) / 1e3],
        }

    return run


def declare_born() -> None:
    """One row per size of an array that a task makes and returns."""
    for label, size in BORN_SIZES.items():
        key = label.replace(" ", "").lower()
        SECTION.row(
            f"born-{key}",
            f"array of {label} made by a task",
            "get of a task that makes an array with np.full and returns it, the ref dropped; "
            "median of the whole, of the time NumPy took in the task, and of the rest",
            Figure("whole", "us", "lower"),
            Figure("NumPy", "us", "lower"),
            Figure("rest", "us", "lower", "sync call" if size <= MIB else "parked round trip"),
        )(born_row(size))


declare_born()


@contextmanager
def all_reading(bench: Bench, value: Any, expected: int) -> Iterator[None]:
    """While the block runs, so many processes at once have read the array and hold it."""
    ray = bench.ray

    @ray.remote(num_cpus=0)
    def hold(array: Any, mark: str, go: str) -> tuple[int, int]:
        total = int(array[::PAGE_WORDS].sum())
        Path(mark).touch()
        while not Path(go).exists():
            time.sleep(0.02)
        return total, os.getpid()

    with tempfile.TemporaryDirectory(prefix="wrb-") as name:
        home = Path(name)
        marks = [home / f"held{at}" for at in range(READERS)]
        refs = [hold.remote(value, str(mark), str(home / "go")) for mark in marks]
        deadline = time.monotonic() + READERS_START_WITHIN
        while not all(mark.exists() for mark in marks):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{READERS} tasks did not run at once")
            time.sleep(0.02)
        yield
        (home / "go").touch()
        answers = ray.get(refs)
    if {total for total, _ in answers} != {expected} or len(dict(answers)) != 1:
        raise AssertionError("a reader saw another array")
    if len({pid for _, pid in answers}) != READERS:
        raise AssertionError("two readers shared a process")


@SECTION.row(
    "broadcast",
    "1 GiB array read by 8 tasks at once",
    "put, the store warm, then 8 tasks (num_cpus=0) take the ref and read a word of each page: "
    "seconds in all and without the put; PSS of all processes while 8 of them hold the array, "
    "without what the session had before it held one",
    Figure("seconds", "s", "lower", "copy time 1gib"),
    Figure("reading", "s", "lower"),
    Figure("memory", "GiB", "lower", "one copy"),
    session="fresh",
    timeout=240,
)
def broadcast(bench: Bench) -> Values:
    ray = bench.ray
    numpy()
    require_room(bench, in_store=GIB, outside=GIB)

    @ray.remote(num_cpus=0)
    def read(array: Any) -> int:
        return int(array[::PAGE_WORDS].sum())

    small, array = paged_array(KIB), paged_array(GIB)
    expected = int(array[::PAGE_WORDS].sum())
    with all_reading(bench, small, int(small[0])):
        pass  # eight workers live from here on
    before = procs.total_pss(procs.session_pids())
    ref = ray.put(array)  # makes the store warm
    del ref
    time.sleep(FREED_WITHIN)
    start = time.perf_counter()
    ref = ray.put(array)
    stored = time.perf_counter()
    if ray.get([read.remote(ref) for _ in range(READERS)]) != [expected] * READERS:
        raise AssertionError("a reader saw another array")
    end = time.perf_counter()
    with all_reading(bench, ref, expected):
        gained = procs.total_pss(procs.session_pids()) - before
    return {"seconds": [end - start], "reading": [end - stored], "memory": [gained / GIB]}


@SECTION.row(
    "working-set",
    "working set of five stores",
    "a store of 512 MiB: 160 arrays of 16 MiB are put and kept, then each is got in turn; what "
    "finds no room lies on disk",
    Figure("put", "GB/s"),
    Figure("get", "GB/s"),
    session="none",
    timeout=300,
)
def working_set(bench: Bench) -> Values:
    ray = bench.ray
    size, count = 16 * MIB, 5 * SMALL_STORE // (16 * MIB)
    array = paged_array(size)
    values: Values = {"put": [], "get": []}
    for _ in range(bench.repeats(5, 1)):
        ray.init(**bench.init_options(object_store_memory=SMALL_STORE))
        start = time.perf_counter()
        refs = []
        for number in range(count):
            array[1] = number
            refs.append(ray.put(array))
        stored = time.perf_counter()
        if [int(ray.get(ref)[1]) for ref in refs] != list(range(count)):
            raise AssertionError("get gave another array than was put")
        read = time.perf_counter()
        ray.shutdown()
        values["put"].append(size * count / (stored - start) / 1e9)
        values["get"].append(size * count / (read - stored) / 1e9)
    return values
