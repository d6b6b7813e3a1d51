"""cancel of calls of actors: plain ones, of threads, coroutines."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from .helpers import Journal, Ray, nap, wait_until

LONG = 3600.0


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
