"""Async actors with concurrency groups: a loop and a thread each."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until


def test_concurrency_groups_of_an_async_actor(ray: Ray) -> None:
    @ray.remote(concurrency_groups={"one": 1, "many": 10})
    class Grouped:
        def __init__(self) -> None:
            self.now = self.most = 0

        @ray.method(concurrency_group="one")
        async def single(self) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)
            self.now -= 1

        @ray.method(concurrency_group="many")
        async def peak(self) -> int:
            return self.most

    grouped = Grouped.remote()
    ray.get([grouped.single.remote() for _ in range(10)])
    assert ray.get(grouped.peak.remote()) == 1


def test_each_group_has_a_loop_of_its_own(ray: Ray) -> None:
    @ray.remote(concurrency_groups={"io": 2, "compute": 4})
    class Places:
        @ray.method(concurrency_group="io")
        async def io(self) -> tuple[int, int]:
            return threading.get_ident(), id(asyncio.get_running_loop())

        @ray.method(concurrency_group="io")
        def plain_io(self) -> tuple[int, int]:
            return threading.get_ident(), id(asyncio.get_running_loop())

        @ray.method(concurrency_group="compute")
        async def compute(self) -> tuple[int, int]:
            return threading.get_ident(), id(asyncio.get_running_loop())

        async def other(self) -> tuple[int, int]:
            return threading.get_ident(), id(asyncio.get_running_loop())

    places = Places.remote()
    names = "io", "plain_io", "compute", "other"
    io, plain, compute, other = ray.get([getattr(places, name).remote() for name in names])
    assert io == plain
    assert len({io, compute, other}) == 3
    assert ray.get(places.other.options(concurrency_group="io").remote()) == io


def counting(ray: Ray) -> Any:
    @ray.remote(concurrency_groups={"one": 1, "two": 50})
    class Counting:
        def __init__(self) -> None:
            self.seen: list[int] = []

        @ray.method(concurrency_group="one")
        async def add(self, i: int) -> int:
            self.seen.append(i)
            return i

        @ray.method(concurrency_group="two")
        async def echo(self, i: int) -> int:
            await asyncio.sleep(0)
            return i

        @ray.method(concurrency_group="one")
        async def order(self) -> list[int]:
            return self.seen

    return Counting.remote()


def test_thousands_of_calls_to_groups_at_once_all_run(ray: Ray) -> None:
    actor = counting(ray)
    calls = [(actor.add if i % 2 else actor.echo).remote(i) for i in range(4000)]
    assert ray.get(calls) == list(range(4000))
    assert sorted(ray.get(actor.order.remote())) == list(range(1, 4000, 2))


@pytest.mark.ray_differs("a group of one begins the calls that are ready in no particular order")
def test_thousands_of_calls_to_a_group_of_one_run_in_order(ray: Ray) -> None:
    actor = counting(ray)
    ray.get([actor.add.remote(i) for i in range(4000)])
    assert ray.get(actor.order.remote()) == list(range(4000))


@pytest.mark.parametrize("blocked", ["", "one"])
def test_a_group_that_blocks_holds_up_no_other(ray: Ray, gate: Any, blocked: str) -> None:
    @ray.remote(concurrency_groups={"one": 1, "two": 1})
    class Blocking:
        async def block(self, door: Any) -> str:
            door.wait()
            return "open"

        @ray.method(concurrency_group="two")
        async def ping(self) -> str:
            return "pong"

    door = gate("door")
    actor = Blocking.remote()
    block = actor.block.options(concurrency_group=blocked) if blocked else actor.block
    held = block.remote(door)
    assert ray.get([actor.ping.remote() for _ in range(5)]) == ["pong"] * 5
    door.open()
    assert ray.get(held) == "open"


def test_groups_take_their_first_steps_at_the_same_time(ray: Ray) -> None:
    @ray.remote(concurrency_groups={"one": 1, "two": 1})
    class Meeting:
        def __init__(self) -> None:
            self.met = threading.Barrier(2)
            self.left = threading.Barrier(2)

        async def meet(self, first_to_wait: bool) -> list[bool]:
            mine = asyncio.current_task()
            seen = [mine in asyncio.all_tasks()]
            self.met.wait()
            seen.append(mine in asyncio.all_tasks())
            if first_to_wait:
                await asyncio.sleep(0)
            self.left.wait()
            seen.append(mine in asyncio.all_tasks())
            await asyncio.sleep(0)
            return [*seen, mine in asyncio.all_tasks(), mine is asyncio.current_task()]

    meeting = Meeting.remote()
    for turn in range(20):
        calls = [
            meeting.meet.options(concurrency_group=group).remote(turn % 2 == number)
            for number, group in enumerate(("one", "two"))
        ]
        assert ray.get(calls) == [[True] * 5] * 2


def test_work_of_groups(ray: Ray, journal: Journal) -> None:
    @ray.remote(concurrency_groups={"one": 1})
    class Working:
        def __init__(self) -> None:
            self.loop = asyncio.get_event_loop()
            self.seen = 0

        @ray.method(concurrency_group="one")
        async def items(self, n: int) -> Any:
            for i in range(n):
                await asyncio.sleep(0)
                yield i

        @ray.method(concurrency_group="one")
        async def fails(self) -> None:
            raise KeyError("one")

        @ray.method(concurrency_group="one")
        async def sleeps(self) -> None:
            journal.add("asleep")
            await asyncio.Event().wait()

        async def reference(self, inner: list[Any]) -> Any:
            return await inner[0]

        async def task(self) -> Any:
            context = ray.get_runtime_context()
            before = context.get_task_id()
            await asyncio.sleep(0.01)
            return before == context.get_task_id(), context.get_task_name()

        async def of_default(self) -> bool:
            return asyncio.get_running_loop() is self.loop

    actor = Working.remote()
    assert [ray.get(ref) for ref in actor.items.remote(20)] == list(range(20))
    with pytest.raises(KeyError):
        ray.get(actor.fails.remote())
    assert ray.get(actor.reference.remote([ray.put(7)])) == 7
    assert ray.get(actor.task.remote()) == (True, "Working.task")
    running = actor.sleeps.remote()
    queued = actor.sleeps.remote()
    wait_until(lambda: journal.lines() == ["asleep"])
    ray.cancel(running)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(running)
    wait_until(lambda: journal.lines() == ["asleep"] * 2)
    ray.cancel(queued)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(queued)
    queued_last = [actor.reference.remote([ray.put(i)]) for i in range(50)]
    del actor
    assert ray.get(queued_last) == list(range(50))
