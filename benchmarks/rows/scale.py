# mypy: disable-error-code="untyped-decorator, attr-defined"
"""Many of a thing at once: queued tasks, refs, chains, nested tasks, actors."""

from __future__ import annotations

import importlib
import time
from typing import Any

from benchmarks import procs
from benchmarks.rows.graphs import chained
from benchmarks.rows.micro import noop_task, plain_actor, seconds_of_noops
from benchmarks.rows.registry import Figure, Missing, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Scale")


@SECTION.row(
    "tasks-queued",
    "queued no-op tasks, 1 M (Ray 10 k)",
    "submit all, then get all and check every result",
    Figure("rate", "tasks/s", limit="pipelined rate"),
    Figure("seconds", "s", "lower"),
    timeout=300,
)
def tasks_queued(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    ray.get([noop.remote() for _ in range(100)])
    count = bench.count(whipray=1_000_000, ray=10_000)
    taken = seconds_of_noops(ray, noop, count)
    return {"rate": [count / taken], "seconds": [taken]}


@SECTION.row(
    "tasks-ten-million",
    "10 M no-op tasks from one driver (Ray 20 k)",
    "batch after batch of 100,000 (Ray 2000) is submitted, got and checked; rate of the first and "
    "of the last tenth; PSS of all processes after a first batch, and after the last",
    Figure("first tenth", "tasks/s", limit="pipelined rate"),
    Figure("last tenth", "tasks/s", limit="pipelined rate"),
    Figure("PSS at the start", "MB", "lower"),
    Figure("PSS at the end", "MB", "lower"),
    session="fresh",
    timeout=300,
)
def tasks_ten_million(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    tenth = bench.count(whipray=10_000_000, ray=20_000) // 10
    batch = min(100_000, tenth)

    def seconds_of_a_batch() -> float:
        return seconds_of_noops(ray, noop, batch)

    seconds_of_a_batch()
    pss = [procs.total_pss(procs.session_pids())]
    tenths = [sum(seconds_of_a_batch() for _ in range(tenth // batch)) for _ in range(10)]
    pss.append(procs.total_pss(procs.session_pids()))
    return {
        "first tenth": [tenth / tenths[0]],
        "last tenth": [tenth / tenths[-1]],
        "PSS at the start": [pss[0] / 1e6],
        "PSS at the end": [pss[1] / 1e6],
    }


@SECTION.row(
    "free-refs",
    "free of 1 M live refs (Ray 50 k)",
    "put that many ints into a list, then clear the list",
    Figure("per ref", "us", "lower", "c call time"),
    Figure("seconds", "s", "lower"),
    timeout=300,
)
def free_refs(bench: Bench) -> Values:
    ray = bench.ray
    count = bench.count(whipray=1_000_000, ray=50_000)
    seconds = []
    for _ in range(bench.plan.windows):
        refs = [ray.put(index) for index in range(count)]
        if ray.get([refs[0], refs[-1]]) != [0, count - 1]:
            raise AssertionError("get of a ref gave a wrong value")
        start = time.perf_counter()
        refs.clear()
        seconds.append(time.perf_counter() - start)
    return {"per ref": [taken * 1e6 / count for taken in seconds], "seconds": seconds}


@SECTION.row(
    "as-completed",
    "as_completed over 100 k refs (Ray 10 k)",
    "iterate over the values of that many tasks: all finished before, or submitted just then "
    "(submitting and running them included)",
    Figure("finished", "us", "lower", "c call time"),
    Figure("running", "us", "lower", "task after task"),
    timeout=300,
)
def as_completed(bench: Bench) -> Values:
    ray = bench.ray
    try:
        iterate = importlib.import_module(f"{ray.__name__}.util").as_completed
    except (ImportError, AttributeError) as reason:
        raise Missing(f"no as_completed: {reason}") from None

    @ray.remote
    def same(number: int) -> int:
        return number

    count = bench.count(whipray=100_000, ray=10_000)

    def per_ref(refs: list[Any], began: float) -> float:
        seen = list(iterate(refs))
        taken = time.perf_counter() - began
        if sorted(seen) != list(range(count)):
            raise AssertionError("as_completed lost or doubled a value")
        return taken * 1e6 / count

    values: Values = {"finished": [], "running": []}
    for _ in range(bench.plan.windows):
        submitted = time.perf_counter()
        refs = [same.remote(index) for index in range(count)]
        values["running"].append(per_ref(refs, submitted))
        values["finished"] += [per_ref(refs, time.perf_counter()) for _ in range(3)]
    return values


@SECTION.row(
    "get-list-of-refs",
    "get of a list of small refs, 100 k (Ray 10 k)",
    "put that many ints, then get them as one list",
    Figure("per ref", "us", "lower", "c call time"),
    Figure("seconds", "s", "lower"),
    timeout=300,
)
def get_list_of_refs(bench: Bench) -> Values:
    ray = bench.ray
    count = bench.count(whipray=100_000, ray=10_000)
    refs = [ray.put(index) for index in range(count)]
    seconds = []
    for _ in range(bench.plan.windows):
        start = time.perf_counter()
        values = ray.get(refs)
        seconds.append(time.perf_counter() - start)
        if values != list(range(count)):
            raise AssertionError("get of the list gave wrong values")
    return {"per ref": [taken * 1e6 / count for taken in seconds], "seconds": seconds}


@SECTION.row(
    "get-finished-tasks",
    "get of a list of finished tasks, 10 k",
    "submit 10,000 no-op tasks, wait for all, then get them as one list",
    Figure("per ref", "us", "lower", "c call time"),
    timeout=240,
)
def get_finished_tasks(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    count = bench.count(whipray=10_000, ray=10_000)
    refs = [noop.remote() for _ in range(count)]
    ray.wait(refs, num_returns=count)
    seconds = []
    for _ in range(bench.plan.windows):
        start = time.perf_counter()
        ray.get(refs)
        seconds.append(time.perf_counter() - start)
    return {"per ref": [taken * 1e6 / count for taken in seconds]}


@SECTION.row(
    "task-with-many-refs",
    "one task taking 10 k refs",
    "a task takes 10,000 refs to ints as arguments and returns their number",
    Figure("seconds", "s", "lower"),
    timeout=240,
)
def task_with_many_refs(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def number_of(*values: int) -> int:
        return len(values)

    count = bench.count(whipray=10_000, ray=10_000)
    refs = [ray.put(index) for index in range(count)]
    seconds = []
    for _ in range(bench.plan.windows):
        start = time.perf_counter()
        if ray.get(number_of.remote(*refs)) != count:
            raise AssertionError("the task did not get every argument")
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


@SECTION.row(
    "chain",
    "chain of 1000 dependent tasks",
    "each task takes the result of the one before",
    Figure("per task", "us", "lower", "c call time"),
)
def chain(bench: Bench) -> Values:
    return chained(bench, bench.count(whipray=1000, ray=1000))


@SECTION.row(
    "nested",
    "nested tasks, depth 8",
    "each task waits for the one that it starts",
    Figure("per level", "us", "lower", "sync call"),
)
def nested(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def descend(levels: int) -> int:
        return 1 + ray.get(descend.remote(levels - 1)) if levels > 1 else 1

    values = bench.latency(lambda: ray.get(descend.remote(8)))
    return {"per level": [taken / 8 for taken in values["p50"]]}


@SECTION.row(
    "actor-create",
    "actor created and answering, warm",
    "create an actor and get its first answer, others having lived before",
    Figure("p50", "ms", "lower", "fork"),
    timeout=240,
)
def actor_create(bench: Bench) -> Values:
    ray = bench.ray
    kind = plain_actor(ray)

    def create_and_end() -> float:
        start = time.perf_counter()
        actor = kind.remote()
        ray.get(actor.call.remote())
        taken = (time.perf_counter() - start) * 1e3
        ray.kill(actor)
        time.sleep(0.1)
        return taken

    create_and_end()
    return {"p50": [create_and_end() for _ in range(bench.repeats(20, 5))]}


@SECTION.row(
    "actors-alive",
    "1000 actors alive at once",
    "create 1000 actors (num_cpus=0), call each while all live, check every answer",
    Figure("rate", "actors/s", limit="fork rate"),
    Figure("calls", "calls/s"),
    timeout=300,
    ray_default=False,
)
def actors_alive(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote(num_cpus=0)
    class Numbered:
        def __init__(self, number: int) -> None:
            self.number = number

        def call(self) -> int:
            return self.number

    count = bench.count(whipray=1000, ray=1000)

    def call_all(actors: list[Any]) -> float:
        start = time.perf_counter()
        if ray.get([actor.call.remote() for actor in actors]) != list(range(count)):
            raise AssertionError("an actor answered for another")
        return time.perf_counter() - start

    start = time.perf_counter()
    actors = [Numbered.remote(number) for number in range(count)]
    call_all(actors)
    created = time.perf_counter() - start
    again = [call_all(actors) for _ in range(bench.plan.windows)]
    return {"rate": [count / created], "calls": [count / taken for taken in again]}
