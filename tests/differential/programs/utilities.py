"""Queue, ActorPool and the smaller helpers of util."""

from __future__ import annotations

import time
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


class Worker:
    def double(self, x: int) -> int:
        return 2 * x

    def fail(self, x: int) -> int:
        raise ValueError(x)

    def slow(self, x: int) -> int:
        time.sleep(0.2 if x == 0 else 0)
        return x


def pool(ray: Ray, size: int = 2) -> Any:
    from importlib import import_module

    made = import_module(f"{ray.__name__}.util").ActorPool
    return made([ray.remote(num_cpus=0)(Worker).remote() for _ in range(size)])


POOL: dict[str, Any] = {
    "map": lambda p: list(p.map(lambda a, v: a.double.remote(v), range(5))),
    "map unordered": lambda p: sorted(p.map_unordered(lambda a, v: a.double.remote(v), range(5))),
    "map in order": lambda p: list(p.map(lambda a, v: a.slow.remote(v), range(4))),
    "empty": lambda p: list(p.map(lambda a, v: a.double.remote(v), [])),
    "submit and get": lambda p: [
        p.submit(lambda a, v: a.double.remote(v), 3),
        p.has_next(),
        p.get_next(),
        p.has_next(),
    ],
    "nothing left": lambda p: attempt(lambda: p.get_next()),
    "nothing left unordered": lambda p: attempt(lambda: p.get_next_unordered()),
    "error": lambda p: attempt(lambda: list(p.map(lambda a, v: a.fail.remote(v), [1]))),
    "free and idle": lambda p: [p.has_free(), p.pop_idle() is not None, p.has_free()],
    "more than actors": lambda p: [
        [p.submit(lambda a, v: a.double.remote(v), i) for i in range(5)],
        [p.get_next() for _ in range(5)],
    ],
    "push twice": lambda p: attempt(lambda: p.push(p._idle_actors[0])),
}


@program(each=POOL)
def actor_pool(ray: Ray, use: Any) -> Any:
    return use(pool(ray))


def put_all(queue: Any, items: Any) -> Any:
    for item in items:
        queue.put(item)
    return queue


QUEUE: dict[str, Any] = {
    "first in first out": lambda q: [put_all(q, "abc").get(), q.get(), q.get()],
    "sizes": lambda q: [q.empty(), put_all(q, "abc").qsize(), q.size(), q.full(), q.empty()],
    "full": lambda q: attempt(lambda: put_all(q, "abcd").put(1, timeout=0.1)),
    "full at once": lambda q: attempt(lambda: put_all(q, "abcd").put_nowait(1)),
    "empty": lambda q: attempt(lambda: q.get(timeout=0.1)),
    "empty at once": lambda q: attempt(lambda: q.get_nowait()),
    "not blocking": lambda q: attempt(lambda: q.get(block=False)),
    "negative time": lambda q: attempt(lambda: q.get(timeout=-1)),
    "negative time of put": lambda q: attempt(lambda: q.put(1, timeout=-1)),
    "batch": lambda q: [q.put_nowait_batch([1, 2, 3]), q.get_nowait_batch(2), q.qsize()],
    "batch too large": lambda q: attempt(lambda: q.put_nowait_batch(range(9))),
    "batch of too many": lambda q: attempt(lambda: put_all(q, "a").get_nowait_batch(3)),
    "wrong batch": lambda q: attempt(lambda: q.get_nowait_batch("x")),
}


@program(
    each=QUEUE,
    differs={
        case: "Empty and Full are raised in the caller and say why, not as the error of a task"
        for case in QUEUE
        if case.split()[0] in ("full", "empty", "not") or case.startswith("batch ")
    },
)
def queue(ray: Ray, use: Any) -> Any:
    from importlib import import_module

    made = import_module(f"{ray.__name__}.util.queue").Queue(4, actor_options={"num_cpus": 0})
    try:
        return use(made)
    finally:
        made.shutdown(force=True)


@program
def queue_from_a_task(ray: Ray) -> Any:
    from importlib import import_module

    queue = import_module(f"{ray.__name__}.util.queue").Queue(actor_options={"num_cpus": 0})

    @ray.remote
    def produce(queue: Any) -> None:
        for i in range(5):
            queue.put(i)

    ray.get(produce.remote(queue))
    return [queue.get() for _ in range(5)]


@program
def unordered_map(ray: Ray) -> Any:
    from importlib import import_module

    square = ray.remote(lambda x: x * x)
    return sorted(import_module(f"{ray.__name__}.util").map_unordered(square, range(5)))


@program
def as_completed(ray: Ray) -> Any:
    from importlib import import_module

    refs = [ray.put(i) for i in range(5)]
    return sorted(import_module(f"{ray.__name__}.util").as_completed(refs))


@program
def named_actors(ray: Ray) -> Any:
    from importlib import import_module

    actor = ray.remote(num_cpus=0)(Worker).options(name="diff-listed").remote()
    ray.get(actor.double.remote(1))
    listed = import_module(f"{ray.__name__}.util").list_named_actors()
    return "diff-listed" in listed


@program
def pickling_is_inspected(ray: Ray) -> Any:
    import threading
    from importlib import import_module

    inspect = import_module(f"{ray.__name__}.util").inspect_serializability
    good, none = inspect(lambda: 1, name="good")
    lock = threading.Lock()
    bad, failures = inspect(lambda: lock, name="bad")
    return [good, len(none), bad, [failure.obj is lock for failure in failures]]


@program
def serializer_of_the_users_own(ray: Ray) -> Any:
    from importlib import import_module

    util = import_module(f"{ray.__name__}.util")

    class Odd:
        def __init__(self, x: int) -> None:
            self.x = x

    util.register_serializer(Odd, serializer=lambda o: o.x + 1, deserializer=lambda x: ("odd", x))
    try:
        return ray.get(ray.put(Odd(1)))
    finally:
        util.deregister_serializer(Odd)
