"""cancel: queued, running, blocked and finished tasks; force."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .helpers import Gate, Journal, Ray, nap, wait_until


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
        try:
            started.open()
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


class SlowToRead:
    """Keeps the process that reads it busy for ever."""

    def __init__(self, gate: str) -> None:
        self.gate = gate

    def __setstate__(self, state: dict[str, str]) -> None:
        Gate(state["gate"]).open()
        nap()


@pytest.mark.ray_differs("arguments that are being loaded are loaded to the end there")
def test_a_task_that_loads_its_arguments_is_cancelled(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    def use(value: SlowToRead) -> int:
        return 1

    ref = use.remote(SlowToRead(started.path))
    started.wait()
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert ray.get(ray.remote(lambda: 2).remote()) == 2


@pytest.mark.ray_differs(
    "interrupts that come together end workers there, and CPUs are not given back"
)
def test_many_cancel_at_once_and_nothing_is_tried_again(ray: Ray, journal: Journal) -> None:
    @ray.remote(num_cpus=0, max_retries=5, retry_exceptions=True)
    def run(n: int) -> None:
        journal.add(n)
        nap()

    refs = [run.remote(n) for n in range(8)]
    wait_until(lambda: len(journal.lines()) == 8)
    threads = [threading.Thread(target=ray.cancel, args=(ref,)) for ref in refs * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ref in refs:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    assert ray.get(ray.remote(num_cpus=2)(lambda: 1).remote()) == 1
    assert sorted(map(int, journal.lines())) == list(range(8))
