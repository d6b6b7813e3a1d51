"""Order of calls: per caller, with pending arguments, through other tasks."""

from __future__ import annotations

import random
from typing import Any

from .helpers import Ray


class Log:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def add(self, item: Any, *_: Any) -> int:
        self.items.append(item)
        return len(self.items)

    def all(self) -> list[Any]:
        return self.items


def test_calls_of_one_caller_run_in_submission_order(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    counts = ray.get([log.add.remote(i) for i in range(500)])
    assert counts == list(range(1, 501))
    assert ray.get(log.all.remote()) == list(range(500))


def test_calls_made_before_the_actor_is_up_keep_their_order(ray: Ray, gate: Any) -> None:
    door = gate("door")

    class Slow(Log):
        def __init__(self) -> None:
            door.wait()
            super().__init__()

    log = ray.remote(Slow).remote()
    refs = [log.add.remote(i) for i in range(50)]
    door.open()
    assert ray.get(refs) == list(range(1, 51))


def test_call_with_a_pending_argument_holds_back_later_calls(ray: Ray, gate: Any) -> None:
    door = gate("door")
    log = ray.remote(Log).remote()
    slow = ray.remote(lambda: door.wait() or "slow").remote()
    first = log.add.remote(slow)
    second = log.add.remote("second")
    assert ray.wait([first, second], timeout=0.2)[0] == []
    door.open()
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(log.all.remote()) == ["slow", "second"]


def test_pending_arguments_that_arrive_in_reverse(ray: Ray, gate: Any) -> None:
    log = ray.remote(Log).remote()
    doors = [gate(f"door{i}") for i in range(4)]
    pending = [ray.remote(num_cpus=0)(lambda i=i: doors[i].wait() or i).remote() for i in range(4)]
    refs = [log.add.remote(ref) for ref in pending]
    for i in (3, 2, 1, 0):
        doors[i].open()
        ray.get(pending[i])
    assert ray.get(refs) == [1, 2, 3, 4]
    assert ray.get(log.all.remote()) == [0, 1, 2, 3]


def test_mixed_ready_pending_large_and_small_arguments(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    choose = random.Random(7)
    later = ray.remote(lambda x: x)
    refs = []
    for i in range(60):
        extra = choose.choice(["none", "task", "put", "large"])
        args = {
            "none": [],
            "task": [later.remote(i)],
            "put": [ray.put(i)],
            "large": [b"l" * 150_000],
        }[extra]
        refs.append(log.add.remote(i, *args))
    ray.get(refs)
    assert ray.get(log.all.remote()) == list(range(60))


def test_failed_argument_keeps_the_order_of_the_rest(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError

    log = ray.remote(Log).remote()
    refs = [log.add.remote(i) for i in range(5)]
    log.add.remote(fail.remote())
    refs += [log.add.remote(i) for i in range(5, 10)]
    assert ray.get(refs) == list(range(1, 11))
    assert ray.get(log.all.remote()) == list(range(10))


def test_failing_method_keeps_the_order_of_the_rest(ray: Ray) -> None:
    class Picky(Log):
        def add(self, item: Any, *_: Any) -> int:
            if item == "bad":
                raise ValueError(item)
            return super().add(item)

    log = ray.remote(Picky).remote()
    for item in (1, "bad", 2, "bad", 3):
        log.add.remote(item)
    assert ray.get(log.all.remote()) == [1, 2, 3]


def test_each_of_several_callers_keeps_its_own_order(ray: Ray) -> None:
    log = ray.remote(Log).remote()

    @ray.remote
    def caller(name: int, handle: Any) -> None:
        ray.get([handle.add.remote((name, i)) for i in range(30)])

    ray.get([caller.remote(k, log) for k in range(4)])
    items = ray.get(log.all.remote())
    assert len(items) == 120
    for k in range(4):
        assert [i for name, i in items if name == k] == list(range(30))


def test_order_over_several_handles_of_one_caller(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    copy = ray.get(ray.put([log]))[0]
    for i in range(40):
        (log if i % 2 else copy).add.remote(i)
    assert ray.get(log.all.remote()) == list(range(40))


def test_driver_calls_before_and_after_a_task_uses_the_handle(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    ray.get(log.add.remote("before"))
    ray.get(ray.remote(lambda h: ray.get(h.add.remote("task"))).remote(log))
    log.add.remote("after")
    items = ray.get(log.all.remote())
    assert items == ["before", "task", "after"]


def test_calls_chained_through_their_own_results(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    ref = log.add.remote("start")
    for _ in range(20):
        ref = log.add.remote(ref)
    assert ray.get(ref) == 21
    assert ray.get(log.all.remote()) == ["start", *range(1, 21)]


def test_two_actors_with_crossed_arguments(ray: Ray) -> None:
    a, b = ray.remote(Log).remote(), ray.remote(Log).remote()
    x = a.add.remote("x")
    for _ in range(10):
        y = b.add.remote(x)
        x = a.add.remote(y)
    assert ray.get(x) == 11
    assert ray.get(b.all.remote()) == list(range(1, 11))


def test_waiting_for_a_later_call_means_the_earlier_ones_ran(ray: Ray) -> None:
    log = ray.remote(Log).remote()
    earlier = [log.add.remote(i) for i in range(30)]
    ray.get(log.all.remote())
    assert ray.wait(earlier, num_returns=30, timeout=120)[0] == earlier


def test_order_of_calls_from_another_actor(ray: Ray) -> None:
    @ray.remote
    class Sender:
        def __init__(self, target: Any) -> None:
            self.target = target

        def send(self, count: int) -> None:
            for i in range(count):
                self.target.add.remote(i)
            ray.get(self.target.add.remote("end"))

    log = ray.remote(Log).remote()
    ray.get(Sender.remote(log).send.remote(50))
    assert ray.get(log.all.remote()) == [*range(50), "end"]
