"""Tasks whose process ends under them, and the state of everything around."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
from typing import Any

import pytest

from .helpers import Gate, Journal, Ray, process_gone, wait_until


def by_exit_code() -> None:
    os._exit(17)


def by_sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def by_sigabrt() -> None:
    os.abort()


def by_sigsegv() -> None:
    ctypes.string_at(0)


def by_exit_in_a_thread() -> None:
    threading.Thread(target=os._exit, args=(3,)).start()
    threading.Event().wait(40)


WAYS = [by_exit_code, by_sigkill, by_sigabrt, by_sigsegv, by_exit_in_a_thread]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_crash_is_a_worker_crashed_error(ray: Ray, way: Any) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(max_retries=0)(way).remote())


def test_worker_crashed_error_is_a_ray_error(ray: Ray) -> None:
    assert issubclass(ray.exceptions.WorkerCrashedError, ray.exceptions.RayError)
    assert not issubclass(ray.exceptions.WorkerCrashedError, ray.exceptions.RayTaskError)


@pytest.mark.parametrize("code", [0, 1, 5, "text"])
def test_sys_exit_counts_as_a_crash(ray: Ray, code: Any) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(max_retries=0)(lambda: sys.exit(code)).remote())


def test_work_goes_on_after_crashes(ray: Ray) -> None:
    crash = ray.remote(max_retries=0)(by_sigkill)
    crashed = [crash.remote() for _ in range(3)]
    fine = [ray.remote(lambda i=i: i).remote() for i in range(10)]
    assert ray.get(fine) == list(range(10))
    for ref in crashed:
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(ref)


def test_crash_fails_every_return(ray: Ray) -> None:
    refs = ray.remote(max_retries=0, num_returns=3)(by_sigkill).remote()
    for ref in refs:
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(ref)


def test_crash_fails_dependents(ray: Ray) -> None:
    first = ray.remote(max_retries=0)(by_sigkill).remote()
    second = ray.remote(lambda x: x).remote(first)
    with pytest.raises(ray.exceptions.RayError):
        ray.get(second)


def test_crash_can_be_caught_inside_a_task(ray: Ray) -> None:
    @ray.remote
    def guard() -> str:
        try:
            ray.get(ray.remote(max_retries=0)(by_sigkill).remote())
        except ray.exceptions.WorkerCrashedError:
            return "caught"
        return "missed"

    assert ray.get(guard.remote()) == "caught"


def test_wait_counts_a_crash_as_ready(ray: Ray) -> None:
    ref = ray.remote(max_retries=0)(by_sigkill).remote()
    assert ray.wait([ref]) == ([ref], [])


def test_objects_put_by_the_driver_survive_a_crash_of_their_reader(ray: Ray) -> None:
    ref = ray.put(b"x" * 500_000)

    @ray.remote(max_retries=0)
    def read_and_die(value: bytes) -> None:
        os._exit(len(value) % 7)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(read_and_die.remote(ref))
    assert len(ray.get(ref)) == 500_000


def test_results_survive_the_death_of_the_worker_that_made_them(ray: Ray, gate: Any) -> None:
    @ray.remote
    def make() -> tuple[int, bytes]:
        return os.getpid(), b"m" * 500_000

    ref = make.remote()
    pid, _ = ray.get(ref)
    os.kill(pid, signal.SIGKILL)
    assert len(ray.get(ref)[1]) == 500_000


@pytest.mark.ray_differs("a value outlives its owner here; Ray raises OwnerDiedError")
def test_objects_put_by_a_worker_survive_its_death(ray: Ray) -> None:
    @ray.remote
    def make() -> list[Any]:
        return [os.getpid(), ray.put(b"p" * 500_000)]

    pid, inner = ray.get(make.remote())
    os.kill(pid, signal.SIGKILL)
    assert len(ray.get(inner)) == 500_000


@pytest.mark.ray_differs("a value outlives its owner here; Ray raises OwnerDiedError")
def test_objects_put_by_an_actor_survive_its_death(ray: Ray) -> None:
    class Source:
        def give(self) -> list[Any]:
            return [ray.put(b"p" * 500_000), ray.put("small")]

    source = ray.remote(Source).remote()
    refs = ray.get(source.give.remote())
    ray.kill(source)
    assert [len(value) for value in ray.get(refs)] == [500_000, 5]


def test_children_of_a_crashed_task(ray: Ray, gate: Any) -> None:
    door: Gate = gate("door")

    @ray.remote(max_retries=0)
    def parent() -> None:
        ray.remote(lambda: door.wait()).remote()
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(parent.remote())
    door.open()
    assert ray.get([ray.remote(lambda i=i: i).remote() for i in range(4)]) == [0, 1, 2, 3]


def test_crash_error_text_says_that_the_worker_died(ray: Ray) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError, match="died"):
        ray.get(ray.remote(max_retries=0)(by_exit_code).remote())


@pytest.mark.ray_differs("the error names how the process ended; Ray points to its log files")
@pytest.mark.parametrize(
    ("way", "text"), [(by_exit_code, "17"), (by_sigkill, "SIGKILL"), (by_sigsegv, "SIGSEGV")]
)
def test_crash_error_names_the_signal_or_exit_code(ray: Ray, way: Any, text: str) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError, match=text):
        ray.get(ray.remote(max_retries=0)(way).remote())


def test_keyboard_interrupt_in_a_task_does_not_end_the_driver(ray: Ray) -> None:
    @ray.remote(max_retries=0)
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(ray.exceptions.RayError):
        ray.get(interrupt.remote())
    assert ray.get(ray.put(1)) == 1


MIB = 1 << 20


def crash_with_much_memory() -> None:
    held = bytearray(200 * MIB)
    held[:] = b"x" * len(held)
    os.kill(os.getpid(), signal.SIGKILL)


def resident_mib(text: str) -> int:
    found = re.search(r"resident memory peaked at (\d+) MiB", text)
    assert found, text
    return int(found[1])


@pytest.mark.ray_differs("Ray says less about how a worker ended")
def test_error_of_a_crash_names_task_process_signal_and_memory(ray: Ray) -> None:
    crash = ray.remote(max_retries=0)(crash_with_much_memory)
    with pytest.raises(ray.exceptions.WorkerCrashedError) as caught:
        ray.get(crash.remote())
    text = str(caught.value)
    assert "crash_with_much_memory" in text
    assert re.search(r"pid \d+", text)
    assert "signal 9 (SIGKILL" in text
    assert 200 <= resident_mib(text) < 2000
    with pytest.raises(ray.exceptions.WorkerCrashedError, match="exited with code 17"):
        ray.get(ray.remote(max_retries=0)(by_exit_code).remote())


@pytest.mark.ray_differs("Ray says less about how an actor ended")
def test_error_of_a_dead_actor_names_call_signal_and_memory(ray: Ray) -> None:
    @ray.remote
    class Mortal:
        def crash(self) -> None:
            crash_with_much_memory()

        def idle(self) -> None:
            pass

    mortal = Mortal.remote()
    for call in (mortal.crash, mortal.idle):
        with pytest.raises(ray.exceptions.ActorDiedError) as caught:
            ray.get(call.remote())
        text = str(caught.value)
        assert "last_call: crash" in text
        assert "signal 9 (SIGKILL" in text
        assert resident_mib(text) >= 200
        assert text.count("<locals>.Mortal") == 1


def test_unavailable_error_names_the_actor(ray: Ray) -> None:
    @ray.remote(max_restarts=1)
    class Mortal:
        def crash(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    mortal = Mortal.remote()
    with pytest.raises(ray.exceptions.ActorUnavailableError) as caught:
        ray.get(mortal.crash.remote())
    assert mortal._actor_id.hex() in str(caught.value)


def test_a_worker_that_is_killed_while_idle_is_replaced(ray: Ray) -> None:
    pid = ray.remote(lambda: os.getpid())
    for _ in range(3):
        idle = ray.get(pid.remote())
        os.kill(idle, signal.SIGKILL)
        wait_until(lambda idle=idle: process_gone(idle))
        assert ray.get(pid.remote()) != idle


class Deadly:
    """Kills the process that reads it until the journal has so many lines."""

    def __init__(self, path: str, deaths: int) -> None:
        self.path, self.deaths = path, deaths

    def __getstate__(self) -> tuple[str, int]:
        return self.path, self.deaths

    def __setstate__(self, state: tuple[str, int]) -> None:
        self.path, self.deaths = state
        if Journal(self.path).add("read") <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("size", [0, 1 << 20], ids=["small", "large"])
def test_a_worker_that_is_killed_while_it_loads_arguments(
    ray: Ray, journal: Journal, size: int
) -> None:
    @ray.remote
    def use(first: Any, deadly: Deadly) -> int:
        return len(first)

    deadly = Deadly(journal.path, 2)
    assert ray.get(use.remote(bytes(size), deadly)) == size
    assert journal.lines() == ["read"] * 3
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(use.options(max_retries=0).remote(bytes(size), Deadly(journal.path, 100)))


def test_an_actor_that_is_killed_while_it_loads_arguments(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Reader:
        def use(self, deadly: Deadly) -> str:
            return "read"

    assert ray.get(Reader.remote().use.remote(Deadly(journal.path, 2))) == "read"
    assert journal.lines() == ["read"] * 3
