# mypy: disable-error-code="untyped-decorator, attr-defined"
"""Tasks that depend on tasks or submit them: a long chain, a fan, a tree, tasks as callers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.rows.micro import noop_task
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Graphs of tasks")

CALLERS = 4
TASKS_PER_CALLER = 1000


def per_task(bench: Bench, tasks: int, once: Callable[[], Any], expected: Any) -> Values:
    """Microseconds of ``once`` per task, in each window; its result is checked."""
    taken = []
    for _ in range(bench.plan.windows):
        start = time.perf_counter()
        result = once()
        taken.append((time.perf_counter() - start) * 1e6 / tasks)
        if result != expected:
            raise AssertionError(f"the graph gave {result!r} instead of {expected!r}")
    return {"per task": taken}


def chained(bench: Bench, count: int) -> Values:
    """A chain of ``count`` tasks, in each window."""
    ray = bench.ray

    @ray.remote
    def successor(number: int) -> int:
        return number + 1

    def once() -> Any:
        ref = successor.remote(0)
        for _ in range(count - 1):
            ref = successor.remote(ref)
        return ray.get(ref)

    ray.get(successor.remote(0))
    return per_task(bench, count, once, count)


@SECTION.row(
    "chain-long",
    "chain of 100 k dependent tasks (Ray 1 k)",
    "each task takes the result of the one before; all submitted, then get of the last",
    Figure("per task", "us", "lower", "task after task"),
    timeout=240,
)
def chain_long(bench: Bench) -> Values:
    return chained(bench, bench.count(whipray=100_000, ray=1000))


@SECTION.row(
    "fan",
    "fan-out to 10 k tasks and fan-in",
    "one task's result is taken by 10,000 tasks, and all of their results by one task",
    Figure("per task", "us", "lower", "task after task"),
    timeout=240,
)
def fan(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def plus(number: int, more: int) -> int:
        return number + more

    @ray.remote
    def total(*numbers: int) -> int:
        return sum(numbers)

    width = bench.count(whipray=10_000, ray=10_000)

    def once() -> Any:
        root = plus.remote(1, 0)
        return ray.get(total.remote(*[plus.remote(root, index) for index in range(width)]))

    ray.get(total.remote(plus.remote(1, 0)))
    return per_task(bench, width + 2, once, width + width * (width - 1) // 2)


@SECTION.row(
    "tree",
    "tree reduction over 8192 leaves (Ray 1024)",
    "a task makes each leaf, a task adds each pair, up to one sum",
    Figure("per task", "us", "lower", "task after task"),
    timeout=240,
)
def tree(bench: Bench) -> Values:
    ray = bench.ray

    @ray.remote
    def leaf(number: int) -> int:
        return number

    @ray.remote
    def add(left: int, right: int) -> int:
        return left + right

    leaves = bench.count(whipray=8192, ray=1024)

    def once() -> Any:
        level = [leaf.remote(index) for index in range(leaves)]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            odd = level[len(level) // 2 * 2 :]
            level = [add.remote(left, right) for left, right in pairs] + odd
        return ray.get(level[0])

    ray.get(add.remote(leaf.remote(0), leaf.remote(1)))
    return per_task(bench, 2 * leaves - 1, once, leaves * (leaves - 1) // 2)


@SECTION.row(
    "tasks-from-tasks",
    "tasks that submit tasks",
    f"{CALLERS} tasks each submit {TASKS_PER_CALLER} no-op tasks and get them; all are counted",
    Figure("rate", "tasks/s", limit="pipelined rate"),
    timeout=240,
)
def tasks_from_tasks(bench: Bench) -> Values:
    ray = bench.ray
    noop = noop_task(ray)

    @ray.remote
    def submit(count: int) -> int:
        return sum(result == b"ok" for result in ray.get([noop.remote() for _ in range(count)]))

    def one_round() -> None:
        done = ray.get([submit.remote(TASKS_PER_CALLER) for _ in range(CALLERS)])
        if done != [TASKS_PER_CALLER] * CALLERS:
            raise AssertionError("a task gave a wrong result")

    return bench.rate(one_round, CALLERS * (TASKS_PER_CALLER + 1))
