"""Async actors: a loop for each group, many calls in flight, awaiting references."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
from typing import Any

import pytest

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


def test_error_of_a_coroutine_that_constructs(ray: Ray) -> None:
    @ray.remote
    class Fails:
        async def __init__(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("on purpose")

        async def get(self) -> None: ...

    with pytest.raises(ray.exceptions.ActorDiedError, match="on purpose"):
        ray.get(Fails.remote().get.remote())


# ---- concurrency groups: a loop and a thread each ------------------------------------------------


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


def test_thousands_of_calls_to_groups_at_once_all_run_in_order(ray: Ray) -> None:
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

    actor = Counting.remote()
    calls = [(actor.add if i % 2 else actor.echo).remote(i) for i in range(4000)]
    assert ray.get(calls) == list(range(4000))
    assert ray.get(actor.order.remote()) == list(range(1, 4000, 2))


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
