"""Coroutines of actors that do not return: errors, cancellation, interrupts, the actor's end."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until


def test_error_in_a_coroutine(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise KeyError("async")

        async def value(self) -> int:
            return 1

    actor = Async.remote()
    with pytest.raises(KeyError, match="async"):
        ray.get(actor.fail.remote())
    assert ray.get(actor.value.remote()) == 1


def test_error_of_a_task_inside_a_coroutine(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("inner")

    @ray.remote
    class Async:
        async def run(self) -> str:
            try:
                await fail.remote()
            except KeyError:
                return "caught"
            return "missed"

    assert ray.get(Async.remote().run.remote()) == "caught"


def test_error_of_a_coroutine_that_constructs(ray: Ray) -> None:
    @ray.remote
    class Fails:
        async def __init__(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("on purpose")

        async def get(self) -> None: ...

    with pytest.raises(ray.exceptions.ActorDiedError, match="on purpose"):
        ray.get(Fails.remote().get.remote())


@pytest.mark.parametrize("options", [{"max_restarts": 0}, {"concurrency_groups": {"io": 1}}])
def test_a_cancelled_call_cleans_up_while_another_is_cancelled(
    ray: Ray, journal: Journal, options: dict[str, Any]
) -> None:
    class Cleaning:
        def __init__(self) -> None:
            self.clean = asyncio.Event()

        async def work(self, name: str) -> None:
            journal.add(f"{name} works")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                journal.add(f"{name} cleans")
                await self.clean.wait()
                journal.add(f"{name} has cleaned")
                raise

        async def go_on(self) -> None:
            self.clean.set()

    actor = ray.remote(**options)(Cleaning).remote()
    calls = {name: actor.work.remote(name) for name in ("one", "other")}
    wait_until(lambda: len(journal.lines()) == 2)
    for name, call in calls.items():
        ray.cancel(call)
        wait_until(lambda name=name: f"{name} cleans" in journal.lines())
    ray.get(actor.go_on.remote())
    wait_until(lambda: len(journal.lines()) == 6)
    for call in calls.values():
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(call)


@pytest.mark.ray_differs("the loop of the actor stops, and nobody hears of it")
@pytest.mark.parametrize(
    "options", [{"max_concurrency": 4}, {"concurrency_groups": {"other": 1}}], ids=str
)
@pytest.mark.parametrize("pause", [False, True], ids=["at once", "after an await"])
def test_keyboard_interrupt_in_a_coroutine_ends_its_call_alone(
    ray: Ray, options: dict[str, Any], pause: bool
) -> None:
    class Interrupting:
        async def interrupt(self) -> None:
            if pause:
                await asyncio.sleep(0)
            raise KeyboardInterrupt

        async def pid(self) -> int:
            return os.getpid()

    actor = ray.remote(**options)(Interrupting).remote()
    pid = ray.get(actor.pid.remote())
    others = [actor.pid.remote() for _ in range(10)]
    interrupted = actor.interrupt.remote()
    others += [actor.pid.remote() for _ in range(10)]
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(interrupted, timeout=60)
    assert set(ray.get(others, timeout=60)) == {pid}


@pytest.mark.ray_differs("the loop ends, the actor does not, and all its calls wait for ever")
@pytest.mark.parametrize("options", [{"max_restarts": 0}, {"concurrency_groups": {"io": 1}}])
@pytest.mark.parametrize("pause", [False, True])
def test_sys_exit_in_a_coroutine_ends_the_actor(
    ray: Ray, options: dict[str, Any], pause: bool
) -> None:
    class Leaving:
        async def leave(self) -> None:
            if pause:
                await asyncio.sleep(0)
            sys.exit(3)

        async def stay(self) -> None:
            pass

    actor = ray.remote(**options)(Leaving).remote()
    ray.get(actor.stay.remote())
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.leave.remote(), timeout=60)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.stay.remote(), timeout=60)


def test_calls_in_flight_end_with_the_actor(ray: Ray) -> None:
    @ray.remote
    class Leaving:
        async def forever(self) -> None:
            await asyncio.sleep(1000)

        async def pid(self) -> int:
            return os.getpid()

    actor = Leaving.remote()
    waiting = [actor.forever.remote() for _ in range(20)]
    ray.get(actor.pid.remote())
    ray.kill(actor)
    for ref in waiting:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(ref, timeout=60)


@pytest.mark.ray_differs("calls in flight keep the actor there, and its caller waiting")
@pytest.mark.parametrize(
    "options", [{"max_concurrency": 100}, {"concurrency_groups": {"other": 1}}], ids=str
)
def test_exit_actor_with_calls_in_flight_fails_them(ray: Ray, options: dict[str, Any]) -> None:
    @ray.remote(**options)
    class Leaving:
        async def forever(self) -> None:
            await asyncio.sleep(1000)

        async def leave(self) -> None:
            await asyncio.sleep(0)
            ray.actor.exit_actor()

    actor = Leaving.remote()
    waiting = [actor.forever.remote() for _ in range(20)]
    for ref in [actor.leave.remote(), *waiting]:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref, timeout=60)
