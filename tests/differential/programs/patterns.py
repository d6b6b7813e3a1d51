"""Programs as tutorials have them: servers of parameters, pipelines, trees, back-pressure."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import random
import threading
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from ..catalogue import Ray, program
from ..observe import attempt
from .streams import as_dynamic


class Parameters:
    def __init__(self, size: int) -> None:
        self.weights = np.zeros(size)

    def get(self) -> Any:
        return self.weights

    def apply(self, *gradients: Any) -> Any:
        self.weights = self.weights - 0.5 * np.sum(gradients, axis=0)
        return self.weights


class Gradients:
    def of(self, weights: Any) -> Any:
        return weights + 1


@program
def parameter_server(ray: Ray) -> Any:
    server = ray.remote(num_cpus=0)(Parameters).remote(4)
    workers = [ray.remote(num_cpus=0)(Gradients).remote() for _ in range(2)]
    current = server.get.remote()
    for _ in range(6):
        current = server.apply.remote(*[worker.of.remote(current) for worker in workers])
    return ray.get(current)


@program
def parameter_server_without_order(ray: Ray) -> Any:
    server = ray.remote(num_cpus=0)(Parameters).remote(3)

    @ray.remote
    def push(server: Any) -> bool:
        weights = ray.get(server.get.remote())
        ray.get(server.apply.remote(np.ones(3)))
        return bool(weights.flags.writeable)

    return [ray.get([push.remote(server) for _ in range(4)]), ray.get(server.get.remote())]


@program
def map_and_reduce(ray: Ray) -> Any:
    texts = ["the zen of python", "beautiful is better than ugly", "simple is better"]

    @ray.remote
    def split(text: str, parts: int) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in range(parts)]
        for word in text.split():
            found[ord(word[0]) % parts].append(word)
        return found

    @ray.remote
    def count(*lists: list[str]) -> dict[str, int]:
        return dict(collections.Counter(word for words in lists for word in words))

    rows = [split.options(num_returns=3).remote(text, 3) for text in texts]
    counts = ray.get([count.remote(*column) for column in zip(*rows, strict=True)])
    return sorted((word, n) for part in counts for word, n in part.items())


@program
def tree_of_actors(ray: Ray) -> Any:
    class Node:
        def __init__(self, depth: int) -> None:
            kind = ray.remote(num_cpus=0)(Node)
            self.children = [kind.remote(depth - 1) for _ in range(2)] if depth else []

        def count(self) -> int:
            return 1 + sum(ray.get([child.count.remote() for child in self.children]))

    return ray.get(ray.remote(num_cpus=0)(Node).remote(2).count.remote())


@program
def pipelined_work(ray: Ray) -> Any:
    class Source:
        def __init__(self) -> None:
            self.items = list(range(8))

        def next(self) -> int | None:
            return self.items.pop(0) if self.items else None

    class Worker:
        def run(self, source: Any) -> list[int]:
            done, ahead = [], source.next.remote()
            while (item := ray.get(ahead)) is not None:
                ahead = source.next.remote()
                done.append(item * item)
            return done

    source = ray.remote(num_cpus=0)(Source).remote()
    return ray.get(ray.remote(num_cpus=0)(Worker).remote().run.remote(source))


@program
def no_more_than_ten_in_flight(ray: Ray) -> Any:
    double = ray.remote(lambda x: 2 * x)
    flying: list[Any] = []
    done: list[int] = []
    most = 0
    for i in range(60):
        if len(flying) >= 10:
            ready, flying = ray.wait(flying, num_returns=3)
            done += ray.get(ready)
        flying.append(double.remote(i))
        most = max(most, len(flying))
    return [sorted(done + ray.get(flying)), most]


@program
def sorting_by_nested_tasks(ray: Ray) -> Any:
    @ray.remote
    def sort(items: list[int]) -> list[int]:
        if len(items) < 50:
            return sorted(items)
        pivot, *rest = items
        low = sort.remote([x for x in rest if x < pivot])
        high = sort.remote([x for x in rest if x >= pivot])
        return [*ray.get(low), pivot, *ray.get(high)]

    items = random.Random(1).sample(range(10_000), 400)
    return ray.get(sort.remote(items)) == sorted(items)


@program
def references_to_references(ray: Ray) -> Any:
    echo = ray.remote(lambda x: x)

    @ray.remote
    def later(x: int) -> Any:
        return echo.remote(echo.remote(x))

    inner = ray.get(later.remote(5))
    return [type(inner).__name__, ray.get(inner), attempt(lambda: ray.get([[inner]]), text=False)]


@program
def dynamic_parts_of_an_array(ray: Ray) -> Any:
    @ray.remote
    def parts_of(items: Any, size: int) -> Iterator[Any]:
        for at in range(0, len(items), size):
            yield items[at : at + size]

    split = as_dynamic(parts_of)
    total = ray.remote(lambda parts: int(sum(part.sum() for part in ray.get(list(parts)))))
    parts = ray.get(split.remote(np.arange(10), 4))
    return [[ray.get(part) for part in parts], ray.get(total.remote(split.remote(np.arange(9), 2)))]


class Locked:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        return Locked, (self.name,)


@program
def an_object_that_pickles_itself(ray: Ray) -> Any:
    read = ray.remote(lambda locked: (locked.name, locked.lock.locked()))
    return [ray.get(read.remote(Locked("x"))), ray.get(ray.put([Locked("y")]))[0].name]


class Colour(enum.Enum):
    RED = 1


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Record:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)


class Named(typing.NamedTuple):
    x: int
    y: str = "a"


KEPT: dict[str, Any] = {
    "enum": Colour.RED,
    "flag": Rights.READ | Rights.WRITE,
    "dataclass": Record(1, [2]),
    "named tuple": Named(1),
    "class": Record,
    "default dict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1], 3),
    "range": range(3),
    "slice": slice(1, 2),
}


@program(each=KEPT)
def values_of_many_kinds(ray: Ray, value: Any) -> Any:
    got = ray.get(ray.remote(lambda x: x).remote(value))
    return [type(got).__name__, got == value]


@program
def decorated_by_single_dispatch_in_the_script(ray: Ray) -> Any:
    @functools.singledispatch
    def tell(x: Any) -> str:
        return "object"

    tell.__module__ = "__main__"
    return attempt(lambda: ray.get(ray.remote(lambda x: tell(x)).remote(1)), text=False)


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


@program
def an_abstract_class(ray: Ray) -> Any:
    return attempt(lambda: ray.remote(Shape), text=False)


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no start")

    def two(self) -> tuple[int, int]:
        return 1, 2

    def items(self) -> Iterator[int]:
        yield 1


def says_no_start(ray: Ray, ref: Any) -> bool:
    try:
        ray.get(ref)
    except Exception as error:
        return "no start" in str(error)
    return False


@program
def every_result_of_an_actor_that_never_began(ray: Ray) -> Any:
    broken = ray.remote(num_cpus=0)(Broken).remote()
    refs = [*broken.two.options(num_returns=2).remote(), *broken.items.remote()]
    return [says_no_start(ray, ref) for ref in refs]


@program
def names_of_any_length(ray: Ray) -> Any:
    long = "diff" + "n" * 600
    actor = ray.remote(num_cpus=0)(Gradients).options(name=long, namespace=long).remote()
    name = ray.remote(lambda: ray.get_runtime_context().get_task_name())
    own = actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_actor_name())
    return [
        ray.get(own) == long,
        ray.get_actor(long, namespace=long) == actor,
        attempt(lambda: ray.get_actor(long[:-1], namespace=long), text=False),
        len(ray.get(name.options(name="t" * 700).remote())),
    ]


@program
def where_a_value_can_not_be_pickled(ray: Ray) -> Any:
    lock = threading.Lock()
    inspect = import_module(f"{ray.__name__}.util").inspect_serializability
    fine, failures = inspect(lambda: lock, name="job")
    return [fine, [list(failure.path) for failure in failures]]


@program
def actors_in_threads_count(ray: Ray) -> Any:
    class Barrier:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        def meet(self) -> bool:
            self.barrier.wait(60)
            return threading.current_thread() is threading.main_thread()

    met = ray.remote(num_cpus=0, max_concurrency=3)(Barrier).remote()
    return ray.get([met.meet.remote() for _ in range(3)])


@program
def results_of_a_generator_one_by_one(ray: Ray) -> Any:
    @ray.remote
    def produce() -> Iterator[int]:
        yield 0
        yield 1
        yield 2
        raise ValueError("at the end")

    stream = produce.remote()
    ready, rest = ray.wait([stream], timeout=60)
    seen: list[Any] = [len(ready), len(rest), ready[0] is stream]
    seen += [attempt(lambda: ray.get(next(stream)), text=False) for _ in range(5)]
    return [*seen, attempt(lambda: ray.get(stream.completed()), text=False)]
