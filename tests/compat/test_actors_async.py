"""Async actors: one loop, many calls in flight, awaiting references."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

from .helpers import Journal, Ray, wait_until


def test_coroutine_method(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def double(self, x: int) -> int:
            await asyncio.sleep(0)
            return 2 * x

    assert ray.get(Async.remote().double.remote(4)) == 8


def test_calls_wait_for_each_other_in_one_actor(ray: Ray) -> None:
    @ray.remote
    class Signal:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> str:
            await self.event.wait()
            return "released"

        async def send(self) -> None:
            self.event.set()

    signal = Signal.remote()
    waiting = [signal.wait.remote() for _ in range(50)]
    ray.get(signal.send.remote())
    assert ray.get(waiting) == ["released"] * 50


def test_a_thousand_calls_in_flight(ray: Ray) -> None:
    @ray.remote
    class Gatherer:
        def __init__(self) -> None:
            self.waiting = 0
            self.full = asyncio.Event()

        async def enter(self, count: int) -> int:
            self.waiting += 1
            if self.waiting == count:
                self.full.set()
            await self.full.wait()
            return self.waiting

    gatherer = Gatherer.remote()
    assert ray.get([gatherer.enter.remote(900) for _ in range(900)]) == [900] * 900


def test_max_concurrency_limits_an_async_actor(ray: Ray) -> None:
    @ray.remote(max_concurrency=3)
    class Limited:
        def __init__(self) -> None:
            self.now = self.most = 0
            self.full = asyncio.Event()

        async def enter(self) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now == 3:
                self.full.set()
            await self.full.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            self.now -= 1

        async def peak(self) -> int:
            return self.most

    limited = Limited.remote()
    ray.get([limited.enter.remote() for _ in range(30)])
    assert ray.get(limited.peak.remote()) == 3


def test_all_methods_share_one_thread_and_loop(ray: Ray) -> None:
    @ray.remote
    class Where:
        async def a(self) -> tuple[int, int]:
            return threading.get_ident(), id(asyncio.get_running_loop())

        async def b(self) -> tuple[int, int]:
            await asyncio.sleep(0)
            return threading.get_ident(), id(asyncio.get_running_loop())

    where = Where.remote()
    assert len(set(ray.get([where.a.remote(), where.b.remote(), where.a.remote()]))) == 1


def test_plain_methods_of_an_async_actor(ray: Ray) -> None:
    @ray.remote
    class Mixed:
        def __init__(self) -> None:
            self.n = 0

        def plain(self) -> int:
            self.n += 1
            return self.n

        async def coroutine(self) -> int:
            self.n += 10
            return self.n

    mixed = Mixed.remote()
    ray.get([mixed.plain.remote(), mixed.coroutine.remote()])
    assert ray.get(mixed.plain.remote()) == 12


def test_await_of_a_reference_in_an_actor(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def run(self) -> list[Any]:
            one = await ray.remote(lambda: 1).remote()
            two = await ray.put(2)
            return [one, two]

    assert ray.get(Async.remote().run.remote()) == [1, 2]


def test_gather_of_references_in_an_actor(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def run(self) -> list[int]:
            task = ray.remote(lambda i: i * i)
            return list(await asyncio.gather(*[task.remote(i) for i in range(5)]))

    assert ray.get(Async.remote().run.remote()) == [0, 1, 4, 9, 16]


def test_waiting_for_a_task_does_not_stop_other_calls(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote
    class Async:
        async def slow(self) -> str:
            await ray.remote(num_cpus=0)(lambda: door.wait()).remote()
            return "slow"

        async def quick(self) -> str:
            return "quick"

    actor = Async.remote()
    slow = actor.slow.remote()
    assert ray.get(actor.quick.remote()) == "quick"
    door.open()
    assert ray.get(slow) == "slow"


def test_nested_reference_awaited_in_the_actor(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def read(self, box: list[Any]) -> Any:
            return await box[0]

    assert ray.get(Async.remote().read.remote([ray.put("boxed")])) == "boxed"


def test_a_call_is_a_task_of_its_loop(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def listed(self) -> list[bool]:
            task = asyncio.current_task()
            before = task in asyncio.all_tasks()
            await asyncio.sleep(0)
            return [before, task in asyncio.all_tasks(), task is asyncio.current_task()]

        async def ident(self) -> int:
            self.task = asyncio.current_task()
            return id(self.task)

    actor = Async.remote()
    assert ray.get([actor.listed.remote() for _ in range(3)]) == [[True, True, True]] * 3
    first, second = ray.get([actor.ident.remote(), actor.ident.remote()])
    assert first != second


def test_each_call_has_context_variables_of_its_own(ray: Ray) -> None:
    @ray.remote
    class Async:
        def __init__(self) -> None:
            self.var: Any = contextvars.ContextVar("var", default=None)

        async def replace(self, value: int, pause: bool) -> Any:
            found = self.var.get()
            self.var.set(value)
            if pause:
                await asyncio.sleep(0)
            return found, self.var.get()

    actor = Async.remote()
    calls = [actor.replace.remote(value, value % 2 == 1) for value in range(6)]
    assert ray.get(calls) == [(None, value) for value in range(6)]


def test_callbacks_that_a_call_leaves_to_the_loop(ray: Ray) -> None:
    @ray.remote
    class Async:
        def __init__(self) -> None:
            self.seen: list[int] = []

        async def later(self, value: int) -> None:
            asyncio.get_running_loop().call_soon(self.seen.append, value)

        async def seen_so_far(self) -> list[int]:
            while len(self.seen) < 20:
                await asyncio.sleep(0)
            return self.seen

    actor = Async.remote()
    for value in range(20):
        actor.later.remote(value)
    assert sorted(ray.get(actor.seen_so_far.remote())) == list(range(20))


def test_background_work_started_by_a_call(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Async:
        async def start(self) -> None:
            self.task = asyncio.get_running_loop().create_task(self.later())

        async def later(self) -> None:
            await asyncio.sleep(0)
            journal.add("later")

    actor = Async.remote()
    ray.get(actor.start.remote())
    wait_until(journal.lines)


def test_async_actor_calls_itself_through_its_handle(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def outer(self, me: Any) -> int:
            return int(await me.inner.remote()) + 1

        async def inner(self) -> int:
            return 1

    actor = Async.remote()
    assert ray.get(actor.outer.remote(actor)) == 2


def test_async_constructor_work_happens_in_order(ray: Ray) -> None:
    @ray.remote
    class Async:
        def __init__(self, start: int) -> None:
            self.start = start

        async def value(self) -> int:
            return self.start

    assert ray.get(Async.remote(ray.put(5)).value.remote()) == 5


def test_many_results_awaited_in_the_driver(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def echo(self, i: int) -> int:
            return i

    async def main() -> list[int]:
        actor = Async.remote()
        return list(await asyncio.gather(*[actor.echo.remote(i) for i in range(200)]))

    assert asyncio.run(main()) == list(range(200))


def test_constructor_may_be_a_coroutine(ray: Ray) -> None:
    @ray.remote
    class Slow:
        async def __init__(self, start: int, *, step: int = 1) -> None:
            await asyncio.sleep(0)
            self.value = start
            self.step = step
            self.ticker = asyncio.ensure_future(self.tick())

        async def tick(self) -> int:
            self.value += self.step
            return self.value

        async def ticked(self) -> int:
            return await self.ticker

        def __repr__(self) -> str:
            return f"Slow({self.value})"

    assert ray.get(Slow.remote(10, step=5).ticked.remote()) == 15


def test_only_the_constructor_is_a_coroutine(ray: Ray) -> None:
    @ray.remote
    class Slow:
        async def __init__(self) -> None:
            await asyncio.sleep(0)
            self.made = True

        def get(self) -> bool:
            return self.made

    assert ray.get(Slow.remote().get.remote()) is True


def test_asyncio_wait_and_as_completed_mix_references_and_coroutines(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote(num_cpus=0)
    def late() -> str:
        door.wait()
        return "task"

    @ray.remote
    class Mixing:
        async def mix(self, refs: list[Any]) -> list[Any]:
            async def own() -> str:
                return "coroutine"

            tasks = [asyncio.ensure_future(own()), asyncio.wrap_future(refs[0].future())]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == len(pending) == 1
            found = [task.result() for task in done]
            door.open()
            found += [await each for each in asyncio.as_completed(pending)]
            return found + await asyncio.gather(refs[0], own(), refs[1])

    mixing = Mixing.remote()
    refs = [late.remote(), ray.put("put")]
    expected = ["coroutine", "task", "task", "coroutine", "put"]
    assert ray.get(mixing.mix.remote(refs)) == expected


def test_callbacks_on_completion_inside_an_actor(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("no")

    @ray.remote
    class Told:
        async def watch(self, refs: list[Any]) -> list[str]:
            loop, heard = asyncio.get_running_loop(), []
            done = [loop.create_future() for _ in refs]
            for ref, future in zip(refs, done, strict=True):

                def hear(found: Any, future: Any = future) -> None:
                    error = found.exception()
                    heard.append(type(error).__name__ if error else found.result())
                    loop.call_soon_threadsafe(future.set_result, None)

                ref.future().add_done_callback(hear)
            await asyncio.gather(*done)
            return sorted(heard)

    refs = [ray.remote(lambda: "task").remote(), ray.put("put"), fail.remote()]
    found = ray.get(Told.remote().watch.remote(refs))
    assert found == ["RayTaskError(ValueError)", "put", "task"]
