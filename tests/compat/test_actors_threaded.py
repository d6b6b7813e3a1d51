"""Actors with max_concurrency: several calls at once, in threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .helpers import Journal, Ray, wait_until


def test_two_calls_meet_inside_the_actor(ray: Ray) -> None:
    @ray.remote(max_concurrency=2)
    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        def meet(self) -> int:
            self.barrier.wait(40)
            return threading.get_ident()

    meeting = Meeting.remote()
    first, second = ray.get([meeting.meet.remote(), meeting.meet.remote()])
    assert first != second


def test_never_more_calls_at_once_than_allowed(ray: Ray) -> None:
    @ray.remote(max_concurrency=3)
    class Gauge:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.now = self.most = 0
            self.full = threading.Event()

        def enter(self) -> None:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
                if self.now == 3:
                    self.full.set()
            self.full.wait(40)
            with self.lock:
                self.now -= 1

        def peak(self) -> int:
            return self.most

    gauge = Gauge.remote()
    ray.get([gauge.enter.remote() for _ in range(12)])
    assert ray.get(gauge.peak.remote()) == 3


def test_one_call_unblocks_another(ray: Ray) -> None:
    @ray.remote(max_concurrency=2)
    class Signal:
        def __init__(self) -> None:
            self.event = threading.Event()

        def wait(self) -> bool:
            return self.event.wait(40)

        def send(self) -> None:
            self.event.set()

    signal = Signal.remote()
    waiting = signal.wait.remote()
    ray.get(signal.send.remote())
    assert ray.get(waiting) is True


def test_option_raises_the_concurrency_of_a_plain_class(ray: Ray) -> None:
    class Pair:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        def meet(self) -> int:
            return self.barrier.wait(40)

    pair = ray.remote(Pair).options(max_concurrency=2).remote()
    assert sorted(ray.get([pair.meet.remote(), pair.meet.remote()])) == [0, 1]


def test_a_concurrency_of_zero_means_a_plain_actor(ray: Ray) -> None:
    @ray.remote(max_concurrency=0)
    class Plain:
        def one(self) -> int:
            return 1

    assert ray.get(Plain.remote().one.remote()) == 1


@pytest.mark.ray_differs("no call of it ever runs there")
def test_an_async_actor_needs_a_concurrency(ray: Ray) -> None:
    @ray.remote(max_concurrency=0)
    class Async:
        async def one(self) -> int:
            return 1

    with pytest.raises(ValueError, match="no call of an async actor could run"):
        Async.remote()


def test_plain_actor_runs_one_call_at_a_time(ray: Ray) -> None:
    @ray.remote
    class Single:
        def __init__(self) -> None:
            self.inside = 0
            self.overlap = False

        def enter(self) -> None:
            self.inside += 1
            self.overlap |= self.inside > 1
            threading.Event().wait(0.002)
            self.inside -= 1

        def overlapped(self) -> bool:
            return self.overlap

    single = Single.remote()
    ray.get([single.enter.remote() for _ in range(20)])
    assert ray.get(single.overlapped.remote()) is False


def test_errors_of_threads_belong_to_their_call(ray: Ray) -> None:
    @ray.remote(max_concurrency=4)
    class Maybe:
        def run(self, i: int) -> int:
            if i % 2:
                raise ValueError(i)
            return i

    maybe = Maybe.remote()
    refs = [maybe.run.remote(i) for i in range(10)]
    for i, ref in enumerate(refs):
        if i % 2:
            with pytest.raises(ValueError):
                ray.get(ref)
        else:
            assert ray.get(ref) == i


def test_calls_in_threads_use_the_api(ray: Ray) -> None:
    @ray.remote(max_concurrency=4)
    class Nested:
        def run(self, i: int) -> int:
            return int(ray.get(ray.remote(lambda: i * 2).remote()) + ray.get(ray.put(i)))

    nested = Nested.remote()
    assert ray.get([nested.run.remote(i) for i in range(8)]) == [3 * i for i in range(8)]


def test_blocked_threads_do_not_stop_the_others(ray: Ray, gate: Any, journal: Journal) -> None:
    door = gate("door")

    @ray.remote(max_concurrency=3)
    class Mixed:
        def block(self) -> None:
            door.wait()

        def quick(self, i: int) -> None:
            journal.add(i)

    mixed = Mixed.remote()
    blocked = [mixed.block.remote() for _ in range(2)]
    ray.get([mixed.quick.remote(i) for i in range(5)])
    assert len(journal.lines()) == 5
    door.open()
    ray.get(blocked)


def test_pending_argument_does_not_hold_back_others(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote(max_concurrency=2)
    class Echo:
        def say(self, value: Any) -> Any:
            return value

    echo = Echo.remote()
    slow = ray.remote(num_cpus=0)(lambda: door.wait() or "slow").remote()
    first = echo.say.remote(slow)
    assert ray.get(echo.say.remote("quick")) == "quick"
    door.open()
    assert ray.get(first) == "slow"


def test_order_cannot_be_demanded_of_a_threaded_actor(ray: Ray) -> None:
    class Plain:
        pass

    with pytest.raises(ValueError):
        ray.remote(max_concurrency=2, allow_out_of_order_execution=False)(Plain).remote()


def test_concurrency_groups_are_separate(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote(concurrency_groups={"io": 1, "compute": 1})
    class Grouped:
        @ray.method(concurrency_group="io")
        def block(self) -> str:
            door.wait()
            return "io"

        @ray.method(concurrency_group="compute")
        def work(self) -> str:
            return "compute"

        def plain(self) -> str:
            return "default"

    grouped = Grouped.remote()
    blocked = grouped.block.remote()
    assert ray.get([grouped.work.remote(), grouped.plain.remote()]) == ["compute", "default"]
    chosen = grouped.plain.options(concurrency_group="compute").remote()
    assert ray.get(chosen) == "default"
    door.open()
    assert ray.get(blocked) == "io"


def test_limit_of_pending_calls(ray: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("door")

    class Slow:
        def block(self) -> None:
            started.open()
            door.wait()

    slow = ray.remote(max_pending_calls=3)(Slow).remote()
    refs = [slow.block.remote()]
    started.wait()
    refs.append(slow.block.remote())
    refs.append(slow.block.remote())
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded):
        slow.block.remote()
    door.open()
    ray.get(refs)
    wait_until(lambda: ray.get(slow.block.remote()) is None)


@pytest.mark.parametrize("limit", [2, 5])
def test_calls_that_wait_for_each_other_meet_amid_short_ones(ray: Ray, limit: int) -> None:
    @ray.remote(max_concurrency=limit)
    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(limit)

        def meet(self) -> int:
            self.barrier.wait(40)
            return 1

        def short(self) -> int:
            return 2

    meeting = Meeting.remote()
    for round_number in range(40):
        around = [meeting.short.remote() for _ in range(round_number)]
        met = [meeting.meet.remote() for _ in range(limit)]
        around += [meeting.short.remote() for _ in range(round_number)]
        assert ray.get(met) == [1] * limit
        assert ray.get(around) == [2] * 2 * round_number


def test_groups_whose_calls_wait_for_each_other(ray: Ray) -> None:
    @ray.remote(concurrency_groups={"one": 1, "two": 2})
    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(4)

        @ray.method(concurrency_group="one")
        def one(self) -> int:
            self.barrier.wait(40)
            return threading.get_ident()

        @ray.method(concurrency_group="two")
        def two(self) -> int:
            self.barrier.wait(40)
            return threading.get_ident()

        def other(self) -> int:
            self.barrier.wait(40)
            return threading.get_ident()

    meeting = Meeting.remote()
    seen = []
    for _ in range(10):
        calls = [meeting.two.remote(), meeting.one.remote(), meeting.two.remote()]
        seen.append(ray.get([*calls, meeting.other.remote()]))
    assert len({row[1] for row in seen}) == 1
    assert len({ident for row in seen for ident in row}) == 4


def test_a_group_of_one_keeps_its_thread_local_state(ray: Ray) -> None:
    @ray.remote(concurrency_groups={"io": 1})
    class Local:
        def __init__(self) -> None:
            self.local = threading.local()

        def tell(self, text: str) -> None:
            self.local.text = text

        def told(self) -> str | None:
            return getattr(self.local, "text", None)

        @ray.method(concurrency_group="io")
        def tell_io(self, text: str) -> None:
            self.local.text = text

    local = Local.remote()
    ray.get([local.tell.remote("default"), local.tell_io.remote("io")])
    in_io = local.told.options(concurrency_group="io")
    for _ in range(5):
        assert ray.get([local.told.remote(), in_io.remote()]) == ["default", "io"]


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_a_group_of_the_system_is_there_whatever_the_methods_do(
    ray: Ray, gate: Any, kind: str
) -> None:
    started, door = gate("started"), gate("door")

    class Threads:
        def block(self) -> int:
            started.open()
            door.wait()
            return 1

    class Loop:
        async def block(self) -> int:
            started.open()
            door.wait()
            return 1

    cls = Threads if kind == "threads" else Loop
    actor = ray.remote(enable_tensor_transport=True)(cls).remote()
    blocked = actor.block.remote()
    started.wait()
    aside = actor.__ray_call__.options(concurrency_group="_ray_system")
    assert ray.get(aside.remote(lambda self: type(self).__name__)) == cls.__name__
    door.open()
    assert ray.get(blocked) == 1


def test_a_plain_actor_may_run_what_is_ready_first_where_it_allows_that(
    ray: Ray, gate: Any
) -> None:
    door = gate("door")

    @ray.remote(allow_out_of_order_execution=True)
    class Plain:
        def echo(self, value: Any) -> Any:
            return value

    @ray.remote(num_cpus=0)
    def late() -> int:
        door.wait()
        return 1

    plain = Plain.remote()
    first = plain.echo.remote(late.remote())
    assert ray.get(plain.echo.remote(2)) == 2
    door.open()
    assert ray.get(first) == 1
