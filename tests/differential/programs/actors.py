"""Actors: state, order, names, handles, failures, concurrency."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


class Counter:
    """Counts."""

    step = 1

    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self, k: int = 1) -> int:
        self.n += k * self.step
        return self.n

    def fail(self) -> None:
        raise ValueError(f"at {self.n}")

    def pid(self) -> int:
        return os.getpid()

    def die(self) -> None:
        os._exit(3)

    def pair(self) -> tuple[int, int]:
        return self.n, -self.n

    def echo(self, value: Any) -> Any:
        return value

    @staticmethod
    def fixed() -> str:
        return "static"

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    def _hidden(self) -> str:
        return "hidden"

    def __call__(self, x: int) -> int:
        return x + self.n


class Twice(Counter):
    step = 2

    def add(self, k: int = 1) -> int:
        return super().add(k) * 100


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no start")

    def ready(self) -> bool:
        return True


class Async:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = asyncio.Event()

    async def wait(self) -> str:
        await self.gate.wait()
        return "opened"

    async def open(self) -> int:
        self.gate.set()
        return 1

    async def sum_of(self, refs: list[Any]) -> int:
        return sum(await asyncio.gather(*refs))

    async def fail(self) -> None:
        raise KeyError("async")

    async def thread(self) -> int:
        return threading.get_ident()

    def plain(self) -> int:
        return threading.get_ident()


def until(look: Any, enough: Any) -> Any:
    """What `look` gives once it is enough, or in the end."""
    for _ in range(1000):
        seen = look()
        if enough(seen):
            break
        time.sleep(0.02)
    return seen


def last_answer(ray: Ray, actor: Any) -> Any:
    """The first call on a dying actor that fails."""
    call = lambda: attempt(lambda: ray.get(actor.add.remote()), text=False)  # noqa: E731
    return until(call, lambda outcome: outcome.error)


METHOD_CALLS: dict[str, Any] = {
    "plain": lambda ray, a: ray.get(a.add.remote(2)),
    "keyword": lambda ray, a: ray.get(a.add.remote(k=3)),
    "error": lambda ray, a: attempt(lambda: ray.get(a.fail.remote())),
    "two returns": lambda ray, a: ray.get(a.pair.options(num_returns=2).remote()),
    "static": lambda ray, a: ray.get(a.fixed.remote()),
    "class": lambda ray, a: ray.get(a.kind.remote()),
    "hidden": lambda ray, a: ray.get(a._hidden.remote()),
    "call": lambda ray, a: attempt(lambda: ray.get(a.__call__.remote(5))),
    "direct": lambda ray, a: attempt(lambda: a.add(1)),
    "unknown": lambda ray, a: attempt(lambda: a.missing.remote()),
    "too many": lambda ray, a: attempt(lambda: a.add.remote(1, 2, 3)),
    "bad keyword": lambda ray, a: attempt(lambda: a.add.remote(z=1)),
    "reference": lambda ray, a: ray.get(a.add.remote(ray.put(4))),
    "reference inside": lambda ray, a: type(ray.get(a.echo.remote([ray.put(4)]))[0]).__name__,
    "failed reference": lambda ray, a: attempt(
        lambda: ray.get(a.echo.remote(a.fail.remote())), text=False
    ),
    "ready": lambda ray, a: ray.get(a.__ray_ready__.remote()),
    "apply": lambda ray, a: ray.get(a.__ray_call__.remote(lambda self, k: self.n + k, 5)),
    "wrong returns": lambda ray, a: [
        attempt(lambda ref=ref: ray.get(ref)) for ref in a.pair.options(num_returns=3).remote()
    ],
    "in order": lambda ray, a: ray.get([a.add.remote() for _ in range(30)]),
    "after an error": lambda ray, a: [
        attempt(lambda: ray.get(a.fail.remote()), text=False),
        ray.get(a.add.remote()),
    ],
}


@program(each=METHOD_CALLS)
def call(ray: Ray, use: Any) -> Any:
    return use(ray, ray.remote(Counter).remote(10))


CREATIONS: dict[str, Any] = {
    "positional": lambda ray, c: ray.get(c.remote(3).add.remote()),
    "keyword": lambda ray, c: ray.get(c.remote(start=4).add.remote()),
    "reference": lambda ray, c: ray.get(c.remote(ray.put(5)).add.remote()),
    "too many": lambda ray, c: attempt(lambda: c.remote(1, 2)),
    "bad keyword": lambda ray, c: attempt(lambda: c.remote(z=1)),
    "direct": lambda ray, c: attempt(lambda: c()),
    "name": lambda ray, c: c.__ray_metadata__.class_name,
    "unknown attribute": lambda ray, c: attempt(lambda: c.nothing, text=False),
}


@program(each=CREATIONS)
def create(ray: Ray, use: Any) -> Any:
    return use(ray, ray.remote(Counter))


@program
def inheritance(ray: Ray) -> Any:
    actor = ray.remote(Twice).remote(1)
    return ray.get([actor.add.remote(3), actor.kind.remote(), actor.pair.remote()])


@program
def subclass_of_an_actor_class(ray: Ray) -> Any:
    base = ray.remote(Counter)

    def inherit() -> Any:
        class Child(base):  # type: ignore[misc,valid-type]
            pass

        return Child

    return attempt(inherit, text=False)


@program
def constructor_fails(ray: Ray) -> Any:
    actor = ray.remote(Broken).remote()
    outcome = attempt(lambda: ray.get(actor.ready.remote()), text=False)
    try:
        ray.get(actor.ready.remote())
    except Exception as error:
        return [outcome, "no start" in str(error)]
    return outcome


@program
def process_dies(ray: Ray) -> Any:
    actor = ray.remote(Counter).remote()
    return [
        ray.get(actor.add.remote()),
        attempt(lambda: ray.get(actor.die.remote()), text=False),
        attempt(lambda: ray.get(actor.add.remote()), text=False),
    ]


@program
def restarted_once(ray: Ray) -> Any:
    actor = ray.remote(max_restarts=1, max_task_retries=2)(Counter).remote(5)
    first = ray.get(actor.pid.remote())
    before = ray.get(actor.add.remote(10))
    attempt(lambda: ray.get(actor.__ray_call__.remote(lambda self: os.kill(first, 9)), timeout=120))
    return [before, ray.get(actor.add.remote()), ray.get(actor.pid.remote()) != first]


@program
def killed(ray: Ray) -> Any:
    actor = ray.remote(max_restarts=3, max_task_retries=-1)(Counter).remote(1)
    ray.get(actor.add.remote(10))
    ray.kill(actor)
    return until(
        lambda: attempt(lambda: ray.get(actor.add.remote()), text=False), lambda o: o.error
    )


@program
def killed_to_be_restarted(ray: Ray) -> Any:
    actor = ray.remote(max_restarts=3, max_task_retries=-1)(Counter).remote(1)
    first = ray.get(actor.pid.remote())
    ray.kill(actor, no_restart=False)
    until(lambda: ray.get(actor.pid.remote()), lambda pid: pid != first)
    return ray.get(actor.add.remote())


@program(each={"number": 3, "class": Counter, "none": None})
def kill_of_something_else(ray: Ray, value: Any) -> Any:
    return attempt(lambda: ray.kill(value))


@program
def left_by_itself(ray: Ray) -> Any:
    class Leaver:
        def leave(self) -> None:
            ray.actor.exit_actor()

        def ping(self) -> int:
            return 1

    actor = ray.remote(Leaver).remote()
    return [
        ray.get(actor.ping.remote()),
        attempt(lambda: ray.get(actor.leave.remote()), text=False),
        attempt(lambda: ray.get(actor.ping.remote()), text=False),
    ]


@program
def leaving_outside_of_an_actor(ray: Ray) -> Any:
    return attempt(lambda: ray.actor.exit_actor(), text=False)


@program
def named(ray: Ray) -> Any:
    made = ray.remote(Counter).options(name="diff-named").remote(7)
    found = ray.get_actor("diff-named")
    duplicate = attempt(lambda: ray.remote(Counter).options(name="diff-named").remote(), text=False)
    again = ray.remote(Counter).options(name="diff-named", get_if_exists=True).remote(99)
    return [ray.get(found.add.remote()), duplicate, ray.get(again.add.remote()), made == found]


@program(each={"missing": "diff-none", "empty": "", "number": 3})
def get_actor_of(ray: Ray, name: Any) -> Any:
    return attempt(lambda: ray.get_actor(name), text=False)


@program
def named_in_a_namespace(ray: Ray) -> Any:
    actor = ray.remote(Counter).options(name="diff-there", namespace="elsewhere").remote(1)
    ray.get(actor.add.remote())
    return [
        attempt(lambda: ray.get_actor("diff-there"), text=False),
        ray.get(ray.get_actor("diff-there", namespace="elsewhere").add.remote()),
    ]


@program
def name_is_free_after_death(ray: Ray) -> Any:
    first = ray.remote(Counter).options(name="diff-free").remote(1)
    ray.get(first.add.remote())
    ray.kill(first)
    until(lambda: attempt(lambda: ray.get_actor("diff-free")), lambda outcome: outcome.error)
    second = ray.remote(Counter).options(name="diff-free").remote(50)
    return ray.get(second.add.remote())


@program
def handle_as_argument(ray: Ray) -> Any:
    @ray.remote
    def use(handle: Any, nested: Any) -> Any:
        return ray.get([handle.add.remote(1), nested["h"][0].add.remote(10)])

    actor = ray.remote(Counter).remote()
    return [ray.get(use.remote(actor, {"h": [actor]})), ray.get(actor.add.remote(100))]


@program
def handle_pickled(ray: Ray) -> Any:
    actor = ray.remote(Counter).remote()
    copy = pickle.loads(pickle.dumps(actor))
    return [copy == actor, hash(copy) == hash(actor), ray.get(copy.add.remote())]


@program
def handle_to_itself(ray: Ray) -> Any:
    class Self:
        def keep(self, me: Any) -> None:
            self.me = me

        def who(self) -> bool:
            return bool(self.me == ray.get_runtime_context().current_actor)

    actor = ray.remote(Self).remote()
    ray.get(actor.keep.remote(actor))
    return ray.get(actor.who.remote())


@program
def order_with_a_slow_argument(ray: Ray) -> Any:
    @ray.remote
    def slow() -> int:
        time.sleep(0.3)
        return 1

    class Log:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def add(self, x: int) -> list[int]:
            self.seen.append(x)
            return self.seen

    log = ray.remote(Log).remote()
    log.add.remote(slow.remote())
    log.add.remote(2)
    return ray.get(log.add.remote(3))


@program
def threads_run_together(ray: Ray) -> Any:
    class Meet:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        def meet(self) -> int:
            self.barrier.wait(30)
            return 1

    actor = ray.remote(max_concurrency=3)(Meet).remote()
    return ray.get([actor.meet.remote() for _ in range(3)])


ASYNC: dict[str, Any] = {
    "wait and open": lambda ray, a: ray.get([a.wait.remote(), a.open.remote()]),
    "awaits references": lambda ray, a: ray.get(a.sum_of.remote([ray.put(1), ray.put(2)])),
    "error": lambda ray, a: attempt(lambda: ray.get(a.fail.remote())),
    "one thread": lambda ray, a: len(set(ray.get([a.thread.remote(), a.plain.remote()]))),
    "many": lambda ray, a: sum(
        1 for x in ray.get([*[a.wait.remote() for _ in range(100)], a.open.remote()]) if x
    ),
}


@program(each=ASYNC)
def asynchronous(ray: Ray, use: Any) -> Any:
    return use(ray, ray.remote(Async).remote())


@program
def async_call_cancelled(ray: Ray) -> Any:
    actor = ray.remote(Async).remote()
    ref = actor.wait.remote()
    time.sleep(0.2)
    ray.cancel(ref)
    return [attempt(lambda: ray.get(ref, timeout=60), text=False), ray.get(actor.open.remote())]


@program
def async_call_that_cancels_itself(ray: Ray) -> Any:
    class Cancels:
        async def at_once(self) -> None:
            raise asyncio.CancelledError("by itself")

        async def below(self) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(task.cancel)
            await task

        async def ready(self) -> bool:
            return True

    actor = ray.remote(Cancels).remote()
    methods = (actor.at_once, actor.below, actor.ready)
    return [attempt(lambda m=m: ray.get(m.remote(), timeout=60), text=False) for m in methods]


@program(differs="a call into an unknown group fails, and leaves the actor alive")
def unknown_concurrency_group(ray: Ray) -> Any:
    actor = ray.remote(concurrency_groups={"io": 2})(Async).remote()
    wrong = actor.open.options(concurrency_group="none")
    return [
        attempt(lambda: ray.get(wrong.remote(), timeout=60), text=False),
        attempt(lambda: ray.get(actor.open.remote(), timeout=60), text=False),
    ]


@program
def concurrency_groups(ray: Ray) -> Any:
    class Groups:
        @ray.method(concurrency_group="io")
        async def io(self) -> str:
            return threading.current_thread().name[:5]

        async def other(self) -> str:
            return "default"

    actor = ray.remote(concurrency_groups={"io": 2, "compute": 1})(Groups).remote()
    return [
        ray.get(actor.other.remote()),
        ray.get(actor.other.options(concurrency_group="compute").remote()),
    ]


@program
def pending_calls_are_limited(ray: Ray) -> Any:
    class Slow:
        def wait(self) -> None:
            time.sleep(600)

    actor = ray.remote(max_pending_calls=2)(Slow).remote()
    kept = [actor.wait.remote() for _ in range(2)]
    outcome = attempt(lambda: actor.wait.remote(), text=False)
    ray.kill(actor)
    return [len(kept), outcome]


@program
def method_decorator(ray: Ray) -> Any:
    class Two:
        @ray.method(num_returns=2)
        def both(self) -> tuple[int, int]:
            return 1, 2

    return ray.get(ray.remote(Two).remote().both.remote())


@program(
    each={"unknown": {"nope": 1}, "text": {"num_returns": "x"}, "positional": None},
    differs="a ValueError that says what is allowed, at the decorator",
)
def method_decorator_refuses(ray: Ray, options: Any) -> Any:
    if options is None:
        return attempt(lambda: ray.method(3)(lambda self: 0), text=False)
    return attempt(lambda: ray.method(**options)(lambda self: 0), text=False)


@program
def terminate(ray: Ray) -> Any:
    actor = ray.remote(Counter).remote()
    ray.get(actor.add.remote())
    actor.__ray_terminate__.remote()
    return until(
        lambda: attempt(lambda: ray.get(actor.add.remote()), text=False), lambda o: o.error
    )


@program
def state_lives_as_long_as_a_reference_to_a_call(ray: Ray) -> Any:
    ref = ray.remote(Counter).remote(4).add.remote()
    return ray.get(ref)


@program
def repr_of_a_handle(ray: Ray) -> Any:
    return repr(ray.remote(Counter).remote())


@program
def actor_made_by_an_actor(ray: Ray) -> Any:
    class Parent:
        def __init__(self) -> None:
            self.child = ray.remote(Counter).remote(5)

        def ask(self) -> int:
            return int(ray.get(self.child.add.remote()))

        def give(self) -> Any:
            return self.child

    parent = ray.remote(Parent).remote()
    child = ray.get(parent.give.remote())
    return [ray.get(parent.ask.remote()), ray.get(child.add.remote())]


@program(each={"three times": 3, "never enough": 9})
def method_retried_on_exceptions(ray: Ray, needed: int) -> Any:
    class Flaky:
        def __init__(self) -> None:
            self.attempts = 0

        def work(self) -> int:
            self.attempts += 1
            if self.attempts < needed:
                raise ValueError(self.attempts)
            return self.attempts

        def count(self) -> int:
            return self.attempts

    actor = ray.remote(max_task_retries=4)(Flaky).remote()
    outcome = attempt(lambda: ray.get(actor.work.options(retry_exceptions=True).remote()))
    return [outcome, ray.get(actor.count.remote())]
