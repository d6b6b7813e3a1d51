"""Tasks that start tasks: depth beyond the CPUs, recursion, closures."""

from __future__ import annotations

import os
from typing import Any

from .helpers import Ray, process_gone, wait_until


def test_nesting_deeper_than_the_cpus(ray: Ray) -> None:
    @ray.remote
    def dig(depth: int) -> int:
        return 0 if depth == 0 else 1 + ray.get(dig.remote(depth - 1))

    assert ray.get(dig.remote(6)) == 6


def test_tree_of_tasks(ray: Ray) -> None:
    @ray.remote
    def fib(n: int) -> int:
        return n if n < 2 else sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    assert ray.get(fib.remote(5)) == 5


def test_mutual_recursion(ray: Ray) -> None:
    @ray.remote
    def even(n: int) -> bool:
        return n == 0 or bool(ray.get(odd.remote(n - 1)))

    @ray.remote
    def odd(n: int) -> bool:
        return n != 0 and bool(ray.get(even.remote(n - 1)))

    assert ray.get([even.remote(4), odd.remote(4)]) == [True, False]


def test_every_cpu_taken_by_parents_that_wait(ray: Ray) -> None:
    @ray.remote
    def child(i: int) -> int:
        return i

    @ray.remote
    def parent(i: int) -> int:
        return int(ray.get(child.remote(i)))

    assert ray.get([parent.remote(i) for i in range(8)]) == list(range(8))


def test_parents_blocked_in_wait_give_their_cpu_back(ray: Ray) -> None:
    @ray.remote
    def parent(i: int) -> int:
        refs = [ray.remote(lambda k=k: k).remote() for k in range(3)]
        ready, _ = ray.wait(refs, num_returns=3)
        return len(ready) + i

    assert ray.get([parent.remote(i) for i in range(4)]) == [3, 4, 5, 6]


def test_function_defined_inside_a_task(ray: Ray) -> None:
    @ray.remote
    def outer(k: int) -> int:
        @ray.remote
        def inner(x: int) -> int:
            return x * k

        return sum(ray.get([inner.remote(i) for i in range(4)]))

    assert ray.get([outer.remote(1), outer.remote(10)]) == [6, 60]


def test_task_returns_without_waiting_for_its_children(ray: Ray, gate: Any) -> None:
    door, ran = gate("door"), gate("ran")

    @ray.remote
    def child() -> None:
        door.wait()
        ran.open()

    @ray.remote
    def parent() -> str:
        child.remote()
        return "left"

    assert ray.get(parent.remote()) == "left"
    door.open()
    wait_until(ran.is_open)


def test_task_of_an_actor_calls_back_into_another_actor(ray: Ray) -> None:
    @ray.remote
    class Store:
        def __init__(self) -> None:
            self.items: list[int] = []

        def add(self, x: int) -> int:
            self.items.append(x)
            return len(self.items)

    @ray.remote
    class Front:
        def __init__(self, store: Any) -> None:
            self.store = store

        def add(self, x: int) -> int:
            return int(ray.get(ray.remote(lambda s: ray.get(s.add.remote(x))).remote(self.store)))

    front = Front.remote(Store.remote())
    assert ray.get([front.add.remote(1), front.add.remote(2)]) == [1, 2]


def test_closure_over_a_handle(ray: Ray) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    counter = Counter.remote()
    task = ray.remote(lambda: ray.get(counter.add.remote()))
    assert sorted(ray.get([task.remote() for _ in range(5)])) == [1, 2, 3, 4, 5]


def test_closure_over_a_remote_function_and_a_reference(ray: Ray) -> None:
    scale = ray.put(7)
    inner = ray.remote(lambda x, s: x * s)
    outer = ray.remote(lambda x: ray.get(inner.remote(x, scale)))
    assert ray.get(outer.remote(6)) == 42


def test_error_of_a_nested_task_travels_up(ray: Ray) -> None:
    @ray.remote
    def bad() -> None:
        raise KeyError("deep down")

    @ray.remote
    def middle() -> str:
        try:
            ray.get(bad.remote())
        except KeyError as error:
            return f"caught {isinstance(error, ray.exceptions.RayTaskError)}"
        return "nothing"

    assert ray.get(middle.remote()) == "caught True"


def test_global_of_the_worker_process_outlives_a_task(ray: Ray) -> None:
    @ray.remote
    class Cached:
        def once(self) -> int:
            import sys

            store = sys.modules.setdefault("compat_cache_of_process", type(sys)("cache"))
            store.count = getattr(store, "count", 0) + 1
            return int(store.count)

    cached = Cached.remote()
    assert ray.get([cached.once.remote() for _ in range(3)]) == [1, 2, 3]


def test_a_function_with_defaults_calls_itself(ray: Ray) -> None:
    @ray.remote
    def count(n: int, *, sofar: int = 0, step: int = 2) -> int:
        if n == 0:
            return sofar
        return int(ray.get(count.remote(n - 1, sofar=sofar + step)))

    assert ray.get(count.remote(4)) == 8


def test_functions_with_defaults_call_each_other(ray: Ray) -> None:
    @ray.remote
    def even(n: int, log: str = "") -> str:
        return log if n == 0 else str(ray.get(odd.remote(n - 1, log=log + "e")))

    @ray.remote
    def odd(n: int, log: str = "?") -> str:
        return str(ray.get(even.remote(n - 1, log + "o")))

    assert ray.get(even.remote(4)) == "eoeo"


def test_an_actor_starts_others_of_its_own_class(ray: Ray) -> None:
    @ray.remote(num_cpus=0)
    class Sieve:
        """Passes on what its prime does not divide."""

        def __init__(self, prime: int) -> None:
            self.prime = prime
            self.next: Any = None

        def feed(self, n: int) -> None:
            if n % self.prime == 0:
                return
            if self.next is None:
                self.next = Sieve.options(num_cpus=0).remote(n)
            else:
                ray.get(self.next.feed.remote(n))

        def primes(self) -> list[int]:
            return [self.prime, *(ray.get(self.next.primes.remote()) if self.next else [])]

        def own_class(self) -> Any:
            return repr(Sieve).partition(" object at ")[0], Sieve.__ray_metadata__.class_name

    first = Sieve.remote(2)
    for n in range(3, 20):
        ray.get(first.feed.remote(n))
    assert ray.get(first.primes.remote()) == [2, 3, 5, 7, 11, 13, 17, 19]
    shown, name = ray.get(first.own_class.remote())
    assert shown == repr(Sieve).partition(" object at ")[0]
    assert name == Sieve.__ray_metadata__.class_name


def crowd(ray: Ray, gate: Any, work: Any) -> list[Any]:
    """What `work` gives in each of eight processes that run at once, on an instance of two CPUs."""
    door, here = gate("door"), [gate(f"here {n}") for n in range(8)]

    @ray.remote(num_cpus=0)
    def member(n: int) -> Any:
        here[n].open()
        door.wait()
        return os.getpid(), work(n)

    refs = [member.remote(n) for n in range(8)]
    for each in here:
        each.wait()
    door.open()
    return ray.get(refs)


def test_workers_that_are_too_many_end_when_they_are_idle(ray: Ray, gate: Any) -> None:
    pids = {pid for pid, _ in crowd(ray, gate, lambda n: n)}
    assert len(pids) == 8
    wait_until(lambda: sum(not process_gone(pid) for pid in pids) <= 4)


def test_what_idle_workers_have_made_stays(ray: Ray, gate: Any) -> None:
    class Kept:
        def value(self) -> int:
            return 5

    def work(n: int) -> Any:
        return ray.put([n] * 100_000), ray.remote(num_cpus=0)(Kept).remote()

    made = crowd(ray, gate, work)
    others = {pid for pid, _ in crowd(ray, lambda name: gate(f"other {name}"), lambda n: n)}
    others -= {pid for pid, _ in made}
    wait_until(lambda: sum(not process_gone(pid) for pid in others) <= 4)
    for n, (_, (ref, actor)) in enumerate(made):
        assert ray.get(ref)[0] == n and ray.get(actor.value.remote()) == 5


def test_closure_over_modules(ray: Ray) -> None:
    import json as text
    import os.path as paths
    from xml.etree import ElementTree as tree

    @ray.remote
    def use() -> tuple[str, str, str | None]:
        return text.dumps([1]), paths.join("a", "b"), tree.fromstring("<a>b</a>").text

    @ray.remote
    class User:
        def use(self, module: Any = text) -> Any:
            return module.loads("[2]"), tree.Element("c").tag

    assert ray.get(use.remote()) == ("[1]", "a/b", "b")
    assert ray.get(User.remote().use.remote()) == ([2], "c")
