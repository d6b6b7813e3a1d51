"""cancel: queued, running, blocked, finished, dependent and actor work; force."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until

LONG = 3600.0


def nap() -> None:
    """Wait for ever in small steps, so that an interrupt arrives."""
    while True:
        time.sleep(0.02)


def test_running_task_is_interrupted(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        nap()

    ref = run.remote()
    started.wait()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_interrupt_is_a_keyboard_interrupt_in_the_task(
    ray: Ray, gate: Any, journal: Journal
) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        try:
            nap()
        except KeyboardInterrupt:
            journal.add("interrupted")
            raise

    ref = run.remote()
    started.wait()
    ray.cancel(ref)
    wait_until(journal.lines)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_cancelled_error_is_a_ray_error_and_not_a_task_error(ray: Ray) -> None:
    error = ray.exceptions.TaskCancelledError
    assert issubclass(error, ray.exceptions.RayError)
    assert not issubclass(error, ray.exceptions.RayTaskError)


def test_queued_task_never_runs(ray: Ray, gate: Any, journal: Journal) -> None:
    door = gate("door")
    holders = [ray.remote(lambda: door.wait()).remote() for _ in range(2)]
    queued = ray.remote(lambda: journal.add("ran")).remote()
    ray.cancel(queued)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(queued)
    door.open()
    ray.get(holders)
    ray.get([ray.remote(lambda: 1).remote() for _ in range(4)])
    assert journal.lines() == []


@pytest.mark.ray_differs("this can abort the whole driver there: reference count check")
def test_task_waiting_for_its_argument_is_cancelled(ray: Ray, gate: Any, journal: Journal) -> None:
    door = gate("door")
    slow = ray.remote(lambda: door.wait()).remote()
    dependent = ray.remote(lambda _: journal.add("ran")).remote(slow)
    ray.cancel(dependent)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(dependent)
    door.open()
    ray.get(slow)
    assert journal.lines() == []


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


def test_cancel_of_finished_work_does_nothing(ray: Ray) -> None:
    ref = ray.remote(lambda: "kept").remote()
    ray.get(ref)
    ray.cancel(ref)
    assert ray.get(ref) == "kept"


def test_cancel_twice(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        nap()

    ref = run.remote()
    started.wait()
    ray.cancel(ref)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_force_ends_a_task_that_ignores_the_interrupt(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote(max_retries=0)
    def stubborn() -> None:
        started.open()
        while True:
            try:
                nap()
            except KeyboardInterrupt:
                pass

    ref = stubborn.remote()
    started.wait()
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref)


def test_force_cancelled_task_is_not_retried(ray: Ray, gate: Any, journal: Journal) -> None:
    @ray.remote(max_retries=5)
    def run() -> None:
        journal.add("attempt")
        nap()

    ref = run.remote()
    wait_until(journal.lines)
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref)
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    assert journal.lines() == ["attempt"]


def test_cancelled_task_is_not_retried(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_retries=5, retry_exceptions=True)
    def run() -> None:
        journal.add("attempt")
        nap()

    ref = run.remote()
    wait_until(journal.lines)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert journal.lines() == ["attempt"]


def test_task_blocked_in_get_is_cancelled(ray: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("door")
    slow = ray.remote(num_cpus=0)(lambda: door.wait()).remote()

    @ray.remote
    def block(box: list[Any]) -> Any:
        started.open()
        return ray.get(box[0])

    ref = block.remote([slow])
    started.wait()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    door.open()
    ray.get(slow)


def test_recursive_cancel_reaches_children(ray: Ray, gate: Any, journal: Journal) -> None:
    started = gate("started")

    @ray.remote
    def child() -> None:
        started.open()
        try:
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


def test_worker_is_usable_after_a_cancel(ray: Ray, gate: Any) -> None:
    for i in range(4):
        started = gate(f"started{i}")

        @ray.remote
        def run(started: Any = started) -> None:
            started.open()
            nap()

        ref = run.remote()
        started.wait()
        ray.cancel(ref)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    assert ray.get([ray.remote(lambda i=i: i).remote() for i in range(8)]) == list(range(8))


def test_many_queued_tasks_are_cancelled(ray: Ray, gate: Any, journal: Journal) -> None:
    door = gate("door")
    holders = [ray.remote(lambda: door.wait()).remote() for _ in range(2)]
    queued = [ray.remote(lambda: journal.add("ran")).remote() for _ in range(40)]
    for ref in queued:
        ray.cancel(ref)
    for ref in queued:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    door.open()
    ray.get(holders)
    assert journal.lines() == []


@pytest.mark.parametrize("wrong", [5, "text", None], ids=repr)
def test_cancel_of_something_else_is_a_type_error(ray: Ray, wrong: object) -> None:
    with pytest.raises(TypeError):
        ray.cancel(wrong)


def test_force_on_an_actor_call_is_refused(ray: Ray) -> None:
    @ray.remote
    class Sleeper:
        def value(self) -> int:
            return 1

    sleeper = Sleeper.remote()
    ref = sleeper.value.remote()
    with pytest.raises(ValueError):
        ray.cancel(ref, force=True)
    assert ray.get(ref) == 1


def test_async_actor_call_gets_a_cancellation(ray: Ray, gate: Any, journal: Journal) -> None:
    started = gate("started")

    @ray.remote
    class Sleeper:
        async def sleep(self) -> None:
            started.open()
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                journal.add("cancelled")
                raise

        async def value(self) -> int:
            return 1

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    started.wait()
    ray.cancel(ref)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(ref)
    assert journal.lines() == ["cancelled"]
    assert ray.get(sleeper.value.remote()) == 1


def test_running_call_of_a_sync_actor_sees_the_flag(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    class Worker:
        def run(self) -> str:
            started.open()
            wait_until(lambda: ray.get_runtime_context().is_canceled())
            return "saw it"

        def flag(self) -> bool:
            return bool(ray.get_runtime_context().is_canceled())

    worker = Worker.remote()
    ref = worker.run.remote()
    started.wait()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert ray.get(worker.flag.remote()) is False


@pytest.mark.ray_differs("a queued actor call may still run after it was cancelled there")
def test_queued_call_of_a_sync_actor_never_runs(ray: Ray, gate: Any, journal: Journal) -> None:
    started, door = gate("started"), gate("door")

    @ray.remote
    class Worker:
        def block(self) -> None:
            started.open()
            door.wait()

        def note(self) -> None:
            journal.add("ran")

        def value(self) -> int:
            return 4

    worker = Worker.remote()
    block = worker.block.remote()
    started.wait()
    queued = worker.note.remote()
    ray.cancel(queued)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(queued)
    door.open()
    assert ray.get([block, worker.value.remote()]) == [None, 4]
    assert journal.lines() == []


def test_cancel_from_inside_another_task(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def run() -> None:
        started.open()
        nap()

    ref = run.remote()
    started.wait()
    ray.get(ray.remote(lambda box: ray.cancel(box[0])).remote([ref]))
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
