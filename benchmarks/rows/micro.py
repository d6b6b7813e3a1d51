# mypy: disable-error-code="untyped-decorator, attr-defined"
"""The rows of ``ray microbenchmark`` that use the module directly (1 to 23).

Each does what Ray's row of the same name does: the same number of processes, calls and bytes,
the same no-op that returns ``b"ok"``. Remote functions and classes are defined inside the row,
so that they travel by value and workers need not import this package.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

from benchmarks.rows.registry import Figure, Missing, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Ray's microbenchmark")

BATCH = 1000
FEW_CLIENTS = 4
CALLS_PER_ACTOR = 5000
TASKS_PER_CLIENT = 10_000


def half_the_cpus() -> int:
    """The n of the "1:n" and "n:n" rows."""
    return max(1, (os.cpu_count() or 1) // 2)


def numpy() -> Any:
    """The numpy module, or the reason why a row with arrays cannot run."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise Missing("numpy is not installed for this interpreter") from None


def noop_task(ray: Any) -> Any:
    """The task of the task rows."""

    @ray.remote
    def noop() -> bytes:
        return b"ok"

    return noop


def seconds_of_noops(ray: Any, noop: Any, count: int) -> float:
    """What it takes to submit that many no-op tasks and get them; every result is checked."""
    start = time.perf_counter()
    results = ray.get([noop.remote() for _ in range(count)])
    taken = time.perf_counter() - start
    if results.count(b"ok") != count:
        raise AssertionError("a task gave a wrong result")
    return taken


def plain_actor(ray: Any) -> Any:
    """The actor class of the actor rows."""

    @ray.remote
    class Plain:
        def call(self) -> bytes:
            return b"ok"

        def call_with(self, _argument: Any) -> bytes:
            return b"ok"

    return Plain


def async_actor(ray: Any) -> Any:
    """The actor class of the async actor rows."""

    @ray.remote
    class Coroutines:
        async def call(self) -> bytes:
            return b"ok"

        async def call_with(self, _argument: Any) -> bytes:
            return b"ok"

    return Coroutines


def grouped_actor(ray: Any) -> Any:
    """An async actor whose calls run on the event loop of a concurrency group."""

    @ray.remote(concurrency_groups={"group": 1000})
    class Grouped:
        @ray.method(concurrency_group="group")
        async def call(self) -> bytes:
            return b"ok"

    return Grouped


def calling_actor(ray: Any) -> Any:
    """An actor that is itself a client of other actors."""

    @ray.remote(num_cpus=0)
    class Caller:
        def __init__(self, servers: list[Any]) -> None:
            self.servers = servers

        def calls(self, each: int) -> None:
            ray.get([server.call.remote() for server in self.servers for _ in range(each)])

        def calls_with_ref(self, each: int) -> None:
            value = ray.put(0)
            ray.get(
                [server.call_with.remote(value) for server in self.servers for _ in range(each)]
            )

    return Caller


def ready(ray: Any, actors: list[Any]) -> list[Any]:
    """The actors, after each has answered once."""
    ray.get([actor.call.remote() for actor in actors])
    return actors


@SECTION.row(
    "get-small",
    "single client get calls",
    "get of one ref to put(0)",
    Figure("rate", "gets/s", limit="c call"),
    number=1,
)
def get_small(bench: Bench) -> Values:
    ray = bench.ray
    ref = ray.put(0)
    return bench.rate(lambda: ray.get(ref))


@SECTION.row(
    "put-small",
    "single client put calls",
    "put(0), the ref dropped",
    Figure("rate", "puts/s", limit="c call"),
    number=2,
)
def put_small(bench: Bench) -> Values:
    ray = bench.ray
    return bench.rate(lambda: ray.put(0))


@SECTION.row(
    "put-small-multi",
    "multi client put calls",
    "get of 10 tasks of 100 x put(0) each",
    Figure("rate", "puts/s", limit="c call on all cores"),
    number=3,
)
def put_small_multi(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def hundred_puts() -> None:
        for _ in range(100):
            ray.put(0)

    return bench.rate(lambda: ray.get([hundred_puts.remote() for _ in range(10)]), 1000)


@SECTION.row(
    "put-gigabytes",
    "single client put gigabytes",
    "put of one unwritten np.zeros of 800 MiB, the ref dropped; counted as 0.8 GB",
    Figure("rate", "GB/s", limit="copy zero page"),
    number=4,
)
def put_gigabytes(bench: Bench) -> Values:
    ray, np = bench.ray, numpy()
    array = np.zeros(100 * 1024 * 1024, dtype=np.int64)
    return bench.rate(lambda: ray.put(array), 0.8)


@SECTION.row(
    "tasks-and-get-batch",
    "single client tasks and get batch",
    "submit 1000 no-op tasks, get the list; counted as one batch",
    Figure("rate", "batches/s", limit="pipelined batch"),
    number=5,
)
def tasks_and_get_batch(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    return bench.rate(lambda: ray.get([noop.remote() for _ in range(BATCH)]))


@SECTION.row(
    "put-gigabytes-multi",
    "multi client put gigabytes",
    "get of 10 tasks of 10 x put(np.zeros of 80 MiB) each; counted as 8 GB",
    Figure("rate", "GB/s", limit="copy zero page on all cores"),
    number=6,
)
def put_gigabytes_multi(bench: Bench) -> Values:
    ray = bench.ray
    numpy()

    @ray.remote
    def ten_puts() -> None:
        import numpy as np

        for _ in range(10):
            ray.put(np.zeros(10 * 1024 * 1024, dtype=np.int64))

    return bench.rate(lambda: ray.get([ten_puts.remote() for _ in range(10)]), 8.0)


@SECTION.row(
    "get-10k-refs",
    "single client get object containing 10k refs",
    "get of a task's result that is a list of 10,000 refs put in the worker",
    Figure("rate", "gets/s", limit="10k small objects"),
    number=7,
)
def get_10k_refs(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def ten_thousand_refs() -> list[Any]:
        return [ray.put(1) for _ in range(10_000)]

    holder = ten_thousand_refs.remote()
    ray.wait([holder])
    return bench.rate(lambda: ray.get(holder))


@SECTION.row(
    "wait-1k-refs",
    "single client wait 1k refs",
    "submit 1000 no-op tasks, then wait for one at a time until none is left",
    Figure("rate", "rounds/s", limit="wait round"),
    number=8,
)
def wait_1k_refs(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)

    def one_round() -> None:
        rest = [noop.remote() for _ in range(BATCH)]
        _, rest = ray.wait(rest, fetch_local=True)
        while rest:
            _, rest = ray.wait(rest, fetch_local=False)

    return bench.rate(one_round)


@SECTION.row(
    "tasks-sync",
    "single client tasks sync",
    "get(noop.remote())",
    Figure("rate", "tasks/s", limit="sync call rate"),
    number=9,
)
def tasks_sync(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    return bench.rate(lambda: ray.get(noop.remote()))


@SECTION.row(
    "tasks-async",
    "single client tasks async",
    "get of a list of 1000 noop.remote()",
    Figure("rate", "tasks/s", limit="pipelined rate"),
    number=10,
)
def tasks_async(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)
    return bench.rate(lambda: ray.get([noop.remote() for _ in range(BATCH)]), BATCH)


@SECTION.row(
    "tasks-async-multi",
    "multi client tasks async",
    "4 actors each submit 10,000 no-op tasks and get them",
    Figure("rate", "tasks/s", limit="pipelined rate"),
    number=11,
    timeout=300,
)
def tasks_async_multi(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)

    @ray.remote(num_cpus=0)
    class Submitter:
        def call(self) -> bytes:
            return b"ok"

        def batch(self, count: int) -> None:
            ray.get([noop.remote() for _ in range(count)])

    clients = ready(ray, [Submitter.remote() for _ in range(FEW_CLIENTS)])
    return bench.rate(
        lambda: ray.get([client.batch.remote(TASKS_PER_CLIENT) for client in clients]),
        FEW_CLIENTS * TASKS_PER_CLIENT,
    )


def sync_calls(bench: Bench, actor: Any) -> Values:
    ray = bench.ray
    return bench.rate(lambda: ray.get(actor.call.remote()))


def batched_calls(bench: Bench, actor: Any) -> Values:
    ray = bench.ray
    return bench.rate(lambda: ray.get([actor.call.remote() for _ in range(BATCH)]), BATCH)


def one_to_n(bench: Bench, kind: Any) -> Values:
    ray = bench.ray
    servers = ready(ray, [kind.remote() for _ in range(half_the_cpus())])
    caller = calling_actor(ray).remote(servers)
    return bench.rate(
        lambda: ray.get(caller.calls.remote(CALLS_PER_ACTOR)), CALLS_PER_ACTOR * len(servers)
    )


def n_to_n(bench: Bench, kind: Any) -> Values:
    ray = bench.ray
    servers = ready(ray, [kind.remote() for _ in range(half_the_cpus())])

    @ray.remote
    def calls(actors: list[Any], count: int) -> None:
        ray.get([actors[index % len(actors)].call.remote() for index in range(count)])

    return bench.rate(
        lambda: ray.get([calls.remote(servers, CALLS_PER_ACTOR) for _ in range(FEW_CLIENTS)]),
        FEW_CLIENTS * CALLS_PER_ACTOR,
    )


@SECTION.row(
    "actor-sync",
    "1:1 actor calls sync",
    "get(actor.call.remote()) on one actor",
    Figure("rate", "calls/s", limit="sync call rate"),
    number=12,
)
def actor_sync(bench: Bench) -> Values:
    return sync_calls(bench, plain_actor(bench.ray).remote())


@SECTION.row(
    "actor-async",
    "1:1 actor calls async",
    "get of 1000 calls on one actor",
    Figure("rate", "calls/s", limit="pipelined rate"),
    number=13,
)
def actor_async(bench: Bench) -> Values:
    return batched_calls(bench, plain_actor(bench.ray).remote())


@SECTION.row(
    "actor-concurrent",
    "1:1 actor calls concurrent",
    "get of 1000 calls on one actor with max_concurrency=16",
    Figure("rate", "calls/s", limit="pipelined rate"),
    number=14,
)
def actor_concurrent(bench: Bench) -> Values:
    return batched_calls(bench, plain_actor(bench.ray).options(max_concurrency=16).remote())


@SECTION.row(
    "actor-1-n",
    "1:n actor calls async",
    "one client actor calls n actors 5000 times each and gets all; n = half the CPUs",
    Figure("rate", "calls/s", limit="pipelined rate"),
    number=15,
    timeout=240,
)
def actor_1_n(bench: Bench) -> Values:
    return one_to_n(bench, plain_actor(bench.ray))


@SECTION.row(
    "actor-n-n",
    "n:n actor calls async",
    "4 tasks each call n actors in turn, 5000 calls a task",
    Figure("rate", "calls/s", limit="pipelined rate"),
    number=16,
    timeout=240,
)
def actor_n_n(bench: Bench) -> Values:
    return n_to_n(bench, plain_actor(bench.ray))


@SECTION.row(
    "actor-n-n-arg",
    "n:n actor calls with arg async",
    "n client actors, each with an actor of its own: put(0), 1000 calls with that ref, get",
    Figure("rate", "calls/s", limit="pipelined rate"),
    number=17,
)
def actor_n_n_arg(bench: Bench) -> Values:
    ray = bench.ray
    kind, caller = plain_actor(ray), calling_actor(ray)
    servers = ready(ray, [kind.remote() for _ in range(half_the_cpus())])
    clients = [caller.remote([server]) for server in servers]
    return bench.rate(
        lambda: ray.get([client.calls_with_ref.remote(BATCH) for client in clients]),
        BATCH * len(clients),
    )


@SECTION.row(
    "async-actor-sync",
    "1:1 async-actor calls sync",
    "get(actor.call.remote()), call is async def",
    Figure("rate", "calls/s", limit="sync coroutine rate"),
    number=18,
)
def async_actor_sync(bench: Bench) -> Values:
    return sync_calls(bench, async_actor(bench.ray).remote())


@SECTION.row(
    "async-actor-async",
    "1:1 async-actor calls async",
    "get of 1000 calls on one async actor",
    Figure("rate", "calls/s", limit="coroutine rate"),
    number=19,
)
def async_actor_async(bench: Bench) -> Values:
    return batched_calls(bench, async_actor(bench.ray).remote())


@SECTION.row(
    "async-actor-group",
    "1:1 calls in a concurrency group async",
    "get of 1000 calls in a concurrency group of one async actor; not among Ray's own rows",
    Figure("rate", "calls/s", limit="coroutine rate"),
)
def async_actor_group(bench: Bench) -> Values:
    return batched_calls(bench, grouped_actor(bench.ray).remote())


@SECTION.row(
    "async-actor-args",
    "1:1 async-actor calls with args async",
    "get of 1000 calls with an int argument on one async actor",
    Figure("rate", "calls/s", limit="coroutine rate"),
    number=20,
)
def async_actor_args(bench: Bench) -> Values:
    ray = bench.ray
    actor = async_actor(ray).remote()
    return bench.rate(
        lambda: ray.get([actor.call_with.remote(index) for index in range(BATCH)]), BATCH
    )


@SECTION.row(
    "async-actor-1-n",
    "1:n async-actor calls async",
    "as 1:n actor calls, on async actors",
    Figure("rate", "calls/s", limit="coroutine rate"),
    number=21,
    timeout=240,
)
def async_actor_1_n(bench: Bench) -> Values:
    return one_to_n(bench, async_actor(bench.ray))


@SECTION.row(
    "async-actor-n-n",
    "n:n async-actor calls async",
    "as n:n actor calls, on async actors",
    Figure("rate", "calls/s", limit="coroutine rate"),
    number=22,
    timeout=240,
)
def async_actor_n_n(bench: Bench) -> Values:
    return n_to_n(bench, async_actor(bench.ray))


@SECTION.row(
    "placement-groups",
    "placement group create/removal",
    "create 100 groups of one bundle {custom: 0.001}, wait for each, remove each",
    Figure("rate", "groups/s", limit=None),
    number=23,
    session="none",
)
def placement_groups(bench: Bench) -> Values:
    ray = bench.ray
    try:
        api = importlib.import_module(f"{ray.__name__}.util.placement_group")
        create, remove = api.placement_group, api.remove_placement_group
    except (ImportError, AttributeError) as reason:
        raise Missing(f"no placement groups: {reason}") from None
    ray.init(**bench.init_options(resources={"custom": 100}))

    def one_round() -> None:
        groups = [create(bundles=[{"custom": 0.001}]) for _ in range(100)]
        for group in groups:
            if not group.wait(timeout_seconds=30):
                raise TimeoutError("a placement group was not ready within 30 s")
        for group in groups:
            remove(group)

    return bench.rate(one_round, 100)
