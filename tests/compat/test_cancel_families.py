"""cancel and what hangs on the cancelled task: its dependents, its children, theirs."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Journal, Ray, nap, wait_until


def test_dependents_of_a_cancelled_task_fail(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        nap()

    first = run.remote()
    second = ray.remote(lambda x: x).remote(first)
    third = ray.remote(lambda x: x).remote(second)
    started.wait()
    ray.cancel(first)
    for ref in (second, third):
        with pytest.raises((ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError)):
            ray.get(ref)


def test_recursive_cancel_reaches_children(ray: Ray, gate: Any, journal: Journal) -> None:
    started = gate("started")

    @ray.remote
    def child() -> None:
        try:
            started.open()
            nap()
        except KeyboardInterrupt:
            journal.add("child interrupted")
            raise

    @ray.remote
    def parent() -> None:
        ray.get(child.remote())

    ref = parent.remote()
    started.wait()
    ray.cancel(ref, recursive=True)
    with pytest.raises((ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError)):
        ray.get(ref)
    wait_until(journal.lines)


def test_cancel_without_recursion_leaves_children(ray: Ray, gate: Any, journal: Journal) -> None:
    started, door = gate("started"), gate("door")

    @ray.remote
    def child() -> None:
        started.open()
        door.wait()
        journal.add("child finished")

    @ray.remote
    def parent() -> None:
        ray.get(child.remote())

    ref = parent.remote()
    started.wait()
    ray.cancel(ref, recursive=False)
    with pytest.raises((ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError)):
        ray.get(ref)
    door.open()
    wait_until(journal.lines)
    assert journal.lines() == ["child finished"]


def test_recursive_cancel_leaves_what_earlier_tasks_submitted(
    ray: Ray, gate: Any, journal: Journal
) -> None:
    started, door, inner = gate("started"), gate("door"), gate("inner")

    @ray.remote(num_cpus=0)
    def child(gone_on: Any, name: str) -> None:
        gone_on.open()
        door.wait()
        journal.add(name)

    @ray.remote
    def forgetful() -> None:
        child.remote(inner, "child of a finished task")

    @ray.remote
    def parent() -> None:
        ray.get(child.remote(started, "child of a cancelled task"))

    for _ in range(3):
        ray.get(forgetful.remote())
    inner.wait()
    ref = parent.remote()
    started.wait()
    ray.cancel(ref)
    with pytest.raises((ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError)):
        ray.get(ref)
    door.open()
    wait_until(lambda: len(journal.lines()) == 3)
    assert journal.lines() == ["child of a finished task"] * 3


def test_recursive_cancel_from_a_coroutine(ray: Ray, gate: Any, journal: Journal) -> None:
    started, other, door = gate("started"), gate("other"), gate("door")

    @ray.remote(num_cpus=0)
    def child(sign: Any, name: str) -> None:
        sign.open()
        door.wait()
        journal.add(name)

    @ray.remote
    class Parent:
        async def run(self, sign: Any, name: str) -> None:
            await child.remote(sign, name)

    parent = Parent.remote()
    cancelled, kept = parent.run.remote(started, "cancelled"), parent.run.remote(other, "kept")
    started.wait()
    other.wait()
    ray.cancel(cancelled)
    with pytest.raises((ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError)):
        ray.get(cancelled)
    door.open()
    assert ray.get(kept) is None
    assert journal.lines() == ["kept"]


def test_a_long_chain_ends_with_its_first_task(ray: Ray, gate: Any, journal: Journal) -> None:
    started = gate("started")

    @ray.remote
    def first() -> None:
        started.open()
        nap()

    @ray.remote
    def link(before: Any) -> None:
        journal.add("ran")

    refs = [first.remote()]
    for _ in range(30):
        refs.append(link.remote(refs[-1]))
    started.wait()
    ray.cancel(refs[0])
    for ref in refs:
        with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
            ray.get(ref)
    assert journal.lines() == []


def test_many_dependents_fail_with_what_they_wait_for(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        nap()

    ref = run.remote()
    dependents = [ray.remote(lambda value, n=n: n).remote(ref) for n in range(50)]
    started.wait()
    ray.cancel(ref)
    for dependent in dependents:
        with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
            ray.get(dependent)


def test_a_tree_of_tasks_is_cancelled_from_its_root(ray: Ray, journal: Journal) -> None:
    @ray.remote(num_cpus=0)
    def node(depth: int) -> None:
        if depth:
            ray.get([node.remote(depth - 1) for _ in range(2)])
        try:
            journal.add("leaf")
            nap()
        except KeyboardInterrupt:
            journal.add("interrupted")
            raise

    root = node.remote(2)
    wait_until(lambda: journal.lines().count("leaf") == 4)
    ray.cancel(root, recursive=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(root)
    wait_until(lambda: journal.lines().count("interrupted") == 4)
