"""max_restarts and max_task_retries: what is rebuilt, what is lost, how often."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from .helpers import Journal, Ray, process_gone, wait_until


class Phoenix:
    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self) -> int:
        self.n += 1
        return self.n

    def pid(self) -> int:
        return os.getpid()

    def die(self) -> None:
        os._exit(1)


def answer(ray: Ray, call: Any) -> Any:
    """Repeat a call until the actor is back; ActorDiedError passes through."""
    result: list[Any] = []

    def attempt() -> bool:
        try:
            result.append(ray.get(call()))
        except ray.exceptions.ActorDiedError:
            raise
        except ray.exceptions.RayActorError:
            return False
        return True

    wait_until(attempt)
    return result[0]


def kill_process(ray: Ray, actor: Any) -> int:
    pid = int(answer(ray, actor.pid.remote))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_gone(pid))
    return pid


def test_restarted_actor_has_a_new_process_and_a_fresh_state(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=1)(Phoenix).remote(100)
    assert ray.get([phoenix.add.remote(), phoenix.add.remote()]) == [101, 102]
    old = kill_process(ray, phoenix)
    assert answer(ray, phoenix.add.remote) == 101
    assert answer(ray, phoenix.pid.remote) != old


def test_constructor_arguments_are_kept_for_the_restart(ray: Ray) -> None:
    start = ray.put(40)
    phoenix = ray.remote(max_restarts=1)(Phoenix).remote(start)
    del start
    assert ray.get(phoenix.add.remote()) == 41
    kill_process(ray, phoenix)
    assert answer(ray, phoenix.add.remote) == 41


def test_restarts_are_counted(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=2)(Phoenix).remote()
    for _ in range(3):
        kill_process(ray, phoenix)
    with pytest.raises(ray.exceptions.ActorDiedError):
        answer(ray, phoenix.add.remote)


def test_endless_restarts(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=-1)(Phoenix).remote()
    for _ in range(3):
        kill_process(ray, phoenix)
    assert answer(ray, phoenix.add.remote) == 1


def test_no_restart_by_default(ray: Ray) -> None:
    phoenix = ray.remote(Phoenix).remote()
    kill_process(ray, phoenix)
    with pytest.raises(ray.exceptions.ActorDiedError):
        answer(ray, phoenix.add.remote)


def test_kill_ends_a_restartable_actor_for_good(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=-1)(Phoenix).remote()
    ray.get(phoenix.add.remote())
    ray.kill(phoenix)
    with pytest.raises(ray.exceptions.ActorDiedError):
        wait_until(lambda: answer(ray, phoenix.add.remote) is None)


def test_kill_with_no_restart_false_restarts(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=1)(Phoenix).remote(10)
    pid = ray.get(phoenix.pid.remote())
    ray.kill(phoenix, no_restart=False)
    wait_until(lambda: process_gone(pid))
    assert answer(ray, phoenix.add.remote) == 11


def test_call_in_flight_fails_without_task_retries(ray: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("never")

    class Blocking(Phoenix):
        def block(self) -> None:
            started.open()
            door.wait()

    phoenix = ray.remote(max_restarts=1)(Blocking).remote()
    pid = ray.get(phoenix.pid.remote())
    ref = phoenix.block.remote()
    started.wait()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(ref)
    assert answer(ray, phoenix.add.remote) == 1


def test_call_in_flight_is_retried_with_task_retries(ray: Ray, journal: Journal) -> None:
    class Once(Phoenix):
        def fragile(self) -> str:
            if journal.add("attempt") == 1:
                os._exit(1)
            return "second time"

    phoenix = ray.remote(max_restarts=1, max_task_retries=1)(Once).remote()
    assert ray.get(phoenix.fragile.remote()) == "second time"
    assert len(journal.lines()) == 2


def test_task_retries_are_counted(ray: Ray, journal: Journal) -> None:
    class Always(Phoenix):
        def fragile(self) -> None:
            journal.add("attempt")
            os._exit(1)

    phoenix = ray.remote(max_restarts=-1, max_task_retries=2)(Always).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(phoenix.fragile.remote())
    assert len(journal.lines()) == 3


def test_queued_calls_survive_a_restart_with_task_retries(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=-1, max_task_retries=-1)(Phoenix).remote()
    pid = ray.get(phoenix.pid.remote())
    refs = [phoenix.add.remote() for _ in range(50)]
    os.kill(pid, signal.SIGKILL)
    counts = ray.get(refs)
    assert len(counts) == 50
    assert all(1 <= count <= 50 for count in counts)


@pytest.mark.ray_differs("what the dead process had been sent is lost there, begun or not")
def test_queued_calls_that_had_not_begun_run_after_a_restart(ray: Ray, gate: Any) -> None:
    submitted = gate("submitted")

    class Dying(Phoenix):
        def die(self) -> None:
            submitted.wait()
            os._exit(1)

    phoenix = ray.remote(max_restarts=1)(Dying).remote()
    died = phoenix.die.remote()
    refs = [phoenix.add.remote() for _ in range(5)]
    submitted.open()
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        ray.get(died)
    assert ray.get(refs) == [1, 2, 3, 4, 5]


def test_exceptions_of_methods_are_not_retried_by_default(ray: Ray, journal: Journal) -> None:
    class Raising(Phoenix):
        def fail(self) -> None:
            journal.add("attempt")
            raise ValueError("once")

    phoenix = ray.remote(max_task_retries=3)(Raising).remote()
    with pytest.raises(ValueError):
        ray.get(phoenix.fail.remote())
    assert len(journal.lines()) == 1


def test_exceptions_of_a_method_are_retried_on_demand(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Raising:
        @ray.method(max_task_retries=4, retry_exceptions=[ValueError])
        def fail(self) -> str:
            if journal.add("attempt") < 3:
                raise ValueError("again")
            return "third"

    assert ray.get(Raising.remote().fail.remote()) == "third"
    assert len(journal.lines()) == 3


def test_method_option_overrides_the_retries(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Raising:
        def fail(self) -> None:
            journal.add("attempt")
            raise KeyError("always")

    ref = Raising.remote().fail.options(max_task_retries=2, retry_exceptions=True).remote()
    with pytest.raises(KeyError):
        ray.get(ref)
    assert len(journal.lines()) == 3


KEY, VALUE = KeyError("always"), ValueError("always")


@pytest.mark.parametrize(
    ("method", "options", "error", "attempts"),
    [
        ("of_the_class", {}, KEY, 1),
        ("of_the_class", {"retry_exceptions": True}, KEY, 2),
        ("of_the_class", {"retry_exceptions": True, "max_task_retries": 4}, KEY, 5),
        ("of_the_class", {"retry_exceptions": [KeyError]}, KEY, 2),
        ("of_the_class", {"retry_exceptions": [KeyError]}, VALUE, 1),
        ("decorated", {}, KEY, 3),
        ("decorated", {"max_task_retries": 3}, KEY, 4),
        ("decorated", {"max_task_retries": 0}, KEY, 1),
        ("decorated", {"retry_exceptions": False}, KEY, 1),
        ("filtered", {}, KEY, 2),
        ("filtered", {}, VALUE, 1),
        ("filtered", {"retry_exceptions": True}, VALUE, 2),
        ("filtered", {"retry_exceptions": [ValueError]}, VALUE, 2),
        ("filtered", {"retry_exceptions": [ValueError]}, KEY, 1),
        ("filtered", {"retry_exceptions": []}, KEY, 1),
        ("filtered", {"name": "named", "retry_exceptions": [LookupError]}, KEY, 2),
    ],
    ids=repr,
)
def test_options_of_a_call_come_before_its_decorator_and_that_before_the_class(
    ray: Ray,
    journal: Journal,
    method: str,
    options: dict[str, Any],
    error: Exception,
    attempts: int,
) -> None:
    @ray.remote(max_task_retries=1)
    class Raising:
        def of_the_class(self, error: Exception) -> None:
            journal.add("attempt")
            raise error

        @ray.method(max_task_retries=2, retry_exceptions=True)
        def decorated(self, error: Exception) -> None:
            journal.add("attempt")
            raise error

        @ray.method(retry_exceptions=[KeyError])
        def filtered(self, error: Exception) -> None:
            journal.add("attempt")
            raise error

    call = getattr(Raising.remote(), method)
    if options:
        call = call.options(**options)
    with pytest.raises(type(error)):
        ray.get(call.remote(error))
    assert len(journal.lines()) == attempts


@pytest.mark.ray_differs("what options() gives has no options() there")
def test_options_of_calls_that_are_changed_again_add_up(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_task_retries=2)
    class Raising:
        def fail(self, error: Exception) -> None:
            journal.add(ray.get_runtime_context().get_task_name())
            raise error

    call = Raising.remote().fail.options(retry_exceptions=[KeyError]).options(name="mine")
    with pytest.raises(KeyError):
        ray.get(call.remote(KEY))
    with pytest.raises(ValueError):
        ray.get(call.remote(VALUE))
    assert journal.lines() == ["mine"] * 4


def test_retried_calls_keep_their_order_and_wait_for_each_other(ray: Ray, journal: Journal) -> None:
    """Each call dies the first time, and takes the result of the call before it."""

    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Chain:
        def link(self, before: list[int], n: int) -> list[int]:
            if journal.add(n) and journal.lines().count(str(n)) == 1 and n % 3 == 0:
                os._exit(1)
            return [*before, n]

    chain = Chain.remote()
    ref = ray.put([])
    for n in range(10):
        ref = chain.link.remote(ref, n)
    assert ray.get(ref) == list(range(10))
    ran = list(map(int, journal.lines()))
    last = [max(i for i, n in enumerate(ran) if n == each) for each in range(10)]
    assert last == sorted(last)


def test_restarted_actor_knows_that_it_was(ray: Ray) -> None:
    class Knowing(Phoenix):
        def reconstructed(self) -> bool:
            return bool(ray.get_runtime_context().was_current_actor_reconstructed)

    phoenix = ray.remote(max_restarts=1)(Knowing).remote()
    assert ray.get(phoenix.reconstructed.remote()) is False
    kill_process(ray, phoenix)
    assert answer(ray, phoenix.reconstructed.remote) is True


def test_name_survives_a_restart(ray: Ray) -> None:
    options = {"name": "phoenix by name", "max_restarts": 1}
    phoenix = ray.remote(**options)(Phoenix).remote(7)
    kill_process(ray, phoenix)
    assert answer(ray, ray.get_actor("phoenix by name").add.remote) == 8


def test_handles_in_tasks_reach_the_restarted_actor(ray: Ray) -> None:
    phoenix = ray.remote(max_restarts=1, max_task_retries=-1)(Phoenix).remote()
    use = ray.remote(lambda handle: ray.get(handle.add.remote()))
    assert ray.get(use.remote(phoenix)) == 1
    kill_process(ray, phoenix)
    assert ray.get(use.remote(phoenix)) == 1


def test_exit_actor_is_not_restarted(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_restarts=-1)
    class Leaving:
        def __init__(self) -> None:
            journal.add("constructed")

        def leave(self) -> None:
            ray.actor.exit_actor()

    leaving = Leaving.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(leaving.leave.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(leaving.leave.remote())
    assert journal.lines() == ["constructed"]


def test_constructor_error_is_not_restarted(ray: Ray, journal: Journal) -> None:
    @ray.remote(max_restarts=5)
    class Broken:
        def __init__(self) -> None:
            journal.add("constructed")
            raise ValueError("no")

        def value(self) -> int:
            return 1

    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(Broken.remote().value.remote())
    assert journal.lines() == ["constructed"]


def test_async_actor_restarts(ray: Ray) -> None:
    @ray.remote(max_restarts=1, max_task_retries=-1)
    class Async:
        async def pid(self) -> int:
            return os.getpid()

    actor = Async.remote()
    old = kill_process(ray, actor)
    assert answer(ray, actor.pid.remote) != old


def test_a_crash_in_the_last_call_restarts_an_actor_without_handles(ray: Ray, gate: Any) -> None:
    @ray.remote(max_restarts=2, max_task_retries=2)
    class Fragile:
        def work(self, path: str) -> str:
            if not os.path.exists(path):
                open(path, "w").close()
                os._exit(1)
            return "done"

    path = gate("crashed").path
    assert ray.get(Fragile.remote().work.remote(path), timeout=120) == "done"
