"""cancel: queued, running, blocked, finished, dependent and actor work; force."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

from .helpers import Gate, Journal, Ray, wait_until

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


@pytest.mark.parametrize("ending", ["value", "error"])
def test_coroutine_that_catches_its_cancellation_is_cancelled_all_the_same(
    ray: Ray, gate: Any, journal: Journal, ending: str
) -> None:
    started = gate("started")

    @ray.remote
    class Sleeper:
        async def sleep(self) -> str:
            started.open()
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                journal.add("caught")
            if ending == "error":
                raise ValueError(ending)
            return ending

        async def value(self) -> int:
            return 1

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    started.wait()
    ray.cancel(ref)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)) as got:
        ray.get(ref)
    assert isinstance(got.value, ray.exceptions.TaskCancelledError)
    wait_until(lambda: journal.lines() == ["caught"])
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


def test_each_of_several_running_coroutines_is_cancelled_alone(ray: Ray, gate: Any) -> None:
    gates = [gate(f"started{i}") for i in range(3)]
    door = gate("door")

    @ray.remote
    class Sleeper:
        async def sleep(self, started: Any) -> int:
            started.open()
            while not door.is_open():
                await asyncio.sleep(0.01)
            return 5

    sleeper = Sleeper.remote()
    refs = [sleeper.sleep.remote(started) for started in gates]
    for started in gates:
        started.wait()
    ray.cancel(refs[0])
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(refs[0])
    door.open()
    assert ray.get(refs[1:]) == [5, 5]


@pytest.mark.ray_differs("a queued actor call may still run after it was cancelled there")
def test_calls_behind_a_cancelled_one_go_on(ray: Ray, gate: Any, journal: Journal) -> None:
    door = gate("door")
    slow = ray.remote(num_cpus=0)(lambda: door.wait()).remote()

    @ray.remote
    class Worker:
        def note(self, _: Any, text: str) -> str:
            journal.add(text)
            return text

    worker = Worker.remote()
    waits = worker.note.remote(slow, "waits for its argument")
    behind = worker.note.remote(None, "behind")
    ray.cancel(waits)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(waits)
    assert ray.get(behind) == "behind"
    assert journal.lines() == ["behind"]
    door.open()
    ray.get(slow)


@pytest.mark.ray_differs("a queued actor call may still run after it was cancelled there")
def test_cancelled_calls_do_not_come_back_with_a_restart(
    ray: Ray, gate: Any, journal: Journal
) -> None:
    started, door = gate("started"), gate("door")

    @ray.remote(max_restarts=1, max_task_retries=1)
    class Worker:
        def block(self) -> None:
            started.open()
            if not door.is_open():
                nap()

        def note(self, i: int) -> int:
            journal.add(str(i))
            return i

        def pid(self) -> int:
            return os.getpid()

    worker = Worker.remote()
    pid = ray.get(worker.pid.remote())
    block = worker.block.remote()
    started.wait()
    queued = [worker.note.remote(i) for i in range(10)]
    for ref in queued[::2]:
        ray.cancel(ref)
    door.open()
    os.kill(pid, signal.SIGKILL)
    assert ray.get(block) is None
    assert ray.get(queued[1::2]) == [1, 3, 5, 7, 9]
    for ref in queued[::2]:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    assert journal.lines() == ["1", "3", "5", "7", "9"]


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


def test_a_coroutine_that_has_not_begun_never_does(ray: Ray, gate: Any, journal: Journal) -> None:
    started, door = gate("started"), gate("door")

    @ray.remote(max_concurrency=1)
    class Narrow:
        async def hold(self) -> None:
            started.open()
            while not door.is_open():
                await asyncio.sleep(0.01)

        async def note(self) -> None:
            journal.add("ran")

    narrow = Narrow.remote()
    held = narrow.hold.remote()
    started.wait()
    queued = [narrow.note.remote() for _ in range(5)]
    for ref in queued:
        ray.cancel(ref)
    door.open()
    ray.get(held)
    for ref in queued:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    assert journal.lines() == []


def test_a_coroutine_is_cancelled_by_another_process(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote
    class Sleeper:
        async def sleep(self) -> None:
            started.open()
            await asyncio.sleep(LONG)

    @ray.remote
    def cancel(refs: list[Any]) -> None:
        ray.cancel(refs[0])

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    started.wait()
    ray.get(cancel.remote([ref]))
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(ref)


def test_calls_of_a_threaded_actor_see_their_own_flag(ray: Ray, gate: Any) -> None:
    started = gate("started")

    @ray.remote(max_concurrency=3)
    class Threaded:
        def run(self) -> bool:
            started.open()
            while not ray.get_runtime_context().is_canceled():
                time.sleep(0.01)
            return True

        def other(self) -> bool:
            return bool(ray.get_runtime_context().is_canceled())

    threaded = Threaded.remote()
    ref = threaded.run.remote()
    started.wait()
    assert ray.get(threaded.other.remote()) is False
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert ray.get(threaded.other.remote()) is False


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
