"""The API from many threads of the driver and of workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .helpers import Ray


def in_threads(count: int, body: Callable[[int], Any]) -> list[Any]:
    """Run `body(i)` in `count` threads that start together; results in order."""
    barrier = threading.Barrier(count)

    def run(i: int) -> Any:
        barrier.wait()
        return body(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_submit_and_get_from_many_threads(ray: Ray) -> None:
    task = ray.remote(lambda i: i * 3)

    def body(i: int) -> list[int]:
        return list(ray.get([task.remote(i * 100 + k) for k in range(20)]))

    expected = [[(i * 100 + k) * 3 for k in range(20)] for i in range(8)]
    assert in_threads(8, body) == expected


def test_put_and_get_from_many_threads(ray: Ray) -> None:
    def body(i: int) -> bool:
        return all(ray.get(ray.put((i, k, b"x" * k))) == (i, k, b"x" * k) for k in range(100))

    assert all(in_threads(8, body))


def test_one_pending_reference_awaited_by_many_threads(ray: Ray, gate: Any) -> None:
    door = gate("door")
    ref = ray.remote(lambda: door.wait() or "for all").remote()

    def body(i: int) -> Any:
        if i == 0:
            door.open()
        return ray.get(ref)

    assert in_threads(10, body) == ["for all"] * 10


def test_wait_from_many_threads(ray: Ray) -> None:
    task = ray.remote(lambda i: i)

    def body(i: int) -> int:
        left = [task.remote(k) for k in range(10)]
        seen = 0
        while left:
            ready, left = ray.wait(left)
            seen += sum(ray.get(ready))
        return seen

    assert in_threads(6, body) == [45] * 6


def test_large_values_from_many_threads(ray: Ray) -> None:
    def body(i: int) -> bool:
        data = bytes([i]) * 700_000
        return all(ray.get(ray.put(data)) == data for _ in range(5))

    assert all(in_threads(6, body))


def test_one_actor_called_from_many_threads(ray: Ray) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    counter = Counter.remote()
    results = in_threads(8, lambda i: ray.get([counter.add.remote() for _ in range(10)]))
    assert sorted(count for counts in results for count in counts) == list(range(1, 81))


def test_actors_created_in_threads(ray: Ray) -> None:
    @ray.remote(num_cpus=0)
    class Holder:
        def __init__(self, value: int) -> None:
            self.value = value

        def get(self) -> int:
            return self.value

    assert in_threads(3, lambda i: ray.get(Holder.remote(i).get.remote())) == [0, 1, 2]


def test_errors_in_threads_stay_in_their_thread(ray: Ray) -> None:
    @ray.remote
    def maybe(i: int) -> int:
        if i % 2:
            raise ValueError(i)
        return i

    def body(i: int) -> Any:
        try:
            return ray.get(maybe.remote(i))
        except ValueError as error:
            return f"error {error.args[0] if error.args else ''}"

    results = in_threads(6, body)
    assert [r for r in results if isinstance(r, int)] == [0, 2, 4]


def test_first_call_of_a_function_from_many_threads(ray: Ray) -> None:
    task = ray.remote(lambda: "defined once")
    assert in_threads(8, lambda i: ray.get(task.remote())) == ["defined once"] * 8


def test_threads_inside_a_task(ray: Ray) -> None:
    @ray.remote
    def outer() -> list[int]:
        inner = ray.remote(lambda i: i + 1)
        results: dict[int, int] = {}

        def body(i: int) -> None:
            results[i] = ray.get([inner.remote(i), ray.put(0)])[0]

        threads = [threading.Thread(target=body, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [results[i] for i in range(4)]

    assert ray.get(outer.remote()) == [1, 2, 3, 4]


def test_references_dropped_in_other_threads(ray: Ray) -> None:
    shared = ray.put(b"kept" * 50_000)

    def body(i: int) -> int:
        refs = [ray.put(b"y" * 150_000) for _ in range(10)]
        refs.append(shared)
        return sum(len(value) for value in ray.get(refs))

    assert in_threads(6, body) == [1_700_000] * 6
    assert len(ray.get(shared)) == 200_000
