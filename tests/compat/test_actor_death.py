"""How actors end: kill, exit_actor, crash; what callers see."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from typing import Any

import pytest

from .helpers import Journal, Ray, process_gone, wait_until


class Victim:
    def value(self) -> int:
        return 1

    def pid(self) -> int:
        return os.getpid()

    def leave(self, code: int) -> None:
        os._exit(code)

    def kill_self(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def crash(self) -> None:
        ctypes.string_at(0)

    def sys_exit(self) -> None:
        sys.exit(0)


def wait_dead(ray: Ray, actor: Any) -> BaseException:
    """Call until the call fails with the death of the actor, and return that error."""

    def attempt() -> BaseException | None:
        try:
            ray.get(actor.value.remote())
        except ray.exceptions.RayActorError as error:
            return error
        return None

    return wait_until(attempt)


def test_kill_ends_the_process(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    pid = ray.get(victim.pid.remote())
    ray.kill(victim)
    wait_until(lambda: process_gone(pid))
    assert isinstance(wait_dead(ray, victim), ray.exceptions.ActorDiedError)


def test_kill_fails_the_running_call_and_the_queued_ones(ray: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("never")

    class Blocking(Victim):
        def block(self) -> None:
            started.open()
            door.wait()

    victim = ray.remote(Blocking).remote()
    refs = [victim.block.remote(), victim.value.remote(), victim.value.remote()]
    started.wait()
    ray.kill(victim)
    for ref in refs:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref)


def test_kill_before_the_actor_is_up(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    ref = victim.value.remote()
    ray.kill(victim)
    ray.wait([ref])
    assert isinstance(wait_dead(ray, victim), ray.exceptions.RayActorError)


def test_kill_twice(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    ray.get(victim.value.remote())
    ray.kill(victim)
    ray.kill(victim)
    wait_dead(ray, victim)


def test_kill_runs_no_exit_handlers(ray: Ray, journal: Journal) -> None:
    class Handlers(Victim):
        def __init__(self) -> None:
            import atexit

            atexit.register(lambda: journal.add("atexit"))

    victim = ray.remote(Handlers).remote()
    pid = ray.get(victim.pid.remote())
    ray.kill(victim)
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == []


@pytest.mark.parametrize("wrong", [5, "name", None, Victim], ids=repr)
def test_kill_of_something_else_is_a_value_error(ray: Ray, wrong: object) -> None:
    with pytest.raises(ValueError):
        ray.kill(wrong)


def test_kill_of_an_object_reference_is_refused(ray: Ray) -> None:
    with pytest.raises(ValueError):
        ray.kill(ray.put(1))


def test_kill_from_a_task(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    ray.get(victim.value.remote())
    ray.get(ray.remote(lambda handle: ray.kill(handle)).remote(victim))
    wait_dead(ray, victim)


def test_results_made_before_the_death_stay(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    ref = victim.value.remote()
    assert ray.get(ref) == 1
    ray.kill(victim)
    wait_dead(ray, victim)
    assert ray.get(ref) == 1


def test_exit_by_os_exit_fails_the_call(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(victim.leave.remote(3))
    wait_dead(ray, victim)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_death_by_signal_fails_the_call(ray: Ray, number: int) -> None:
    victim = ray.remote(Victim).remote()
    victim.kill_self.remote(number)
    assert isinstance(wait_dead(ray, victim), ray.exceptions.RayActorError)


def test_segmentation_fault_fails_the_call(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(victim.crash.remote())


def test_process_killed_from_outside(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    os.kill(ray.get(victim.pid.remote()), signal.SIGKILL)
    wait_dead(ray, victim)


def test_exit_actor_ends_it_and_runs_exit_handlers(ray: Ray, journal: Journal) -> None:
    class Leaving(Victim):
        def __init__(self) -> None:
            import atexit

            atexit.register(lambda: journal.add("atexit"))

        def leave_now(self) -> None:
            ray.actor.exit_actor()

    leaving = ray.remote(Leaving).remote()
    pid = ray.get(leaving.pid.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(leaving.leave_now.remote())
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == ["atexit"]


def test_exit_actor_outside_an_actor_is_a_type_error(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.actor.exit_actor()
    with pytest.raises(TypeError):
        ray.get(ray.remote(lambda: ray.actor.exit_actor()).remote())


def test_exit_actor_is_a_plain_system_exit(ray: Ray, journal: Journal) -> None:
    """A thread that ends with one, and no other class, leaves no traceback."""

    class Watching(Victim):
        def leave_now(self) -> None:
            try:
                ray.actor.exit_actor()
            except BaseException as error:
                journal.add(type(error).__name__)
                raise

    watching = ray.remote(Watching).remote()
    watching.leave_now.remote()
    wait_dead(ray, watching)
    assert journal.lines() == ["SystemExit"]


def test_exit_actor_that_is_caught_still_ends_the_actor(ray: Ray) -> None:
    class Clinging(Victim):
        def leave_now(self) -> str:
            try:
                ray.actor.exit_actor()
            except BaseException:
                return "stayed"
            return "never"

    clinging = ray.remote(Clinging).remote()
    clinging.leave_now.remote()
    wait_dead(ray, clinging)


def test_exit_actor_of_an_async_actor(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def value(self) -> int:
            return 1

        async def leave_now(self) -> None:
            ray.actor.exit_actor()

    actor = Async.remote()
    assert ray.get(actor.value.remote()) == 1
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.leave_now.remote())
    wait_dead(ray, actor)


def test_no_call_runs_after_exit_actor_of_an_async_actor(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Async:
        async def leave_now(self) -> None:
            ray.actor.exit_actor()

        async def note(self) -> None:
            journal.add("ran")

    for _ in range(5):
        actor = Async.remote()
        ray.get(actor.__ray_ready__.remote())
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(actor.leave_now.remote())
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get([actor.note.remote() for _ in range(3)])
    assert journal.lines() == []


def test_sys_exit_in_a_method_ends_the_actor(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    victim.sys_exit.remote()
    wait_dead(ray, victim)


def test_death_error_names_the_actor(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    actor_id = victim._actor_id.hex()
    ray.get(victim.value.remote())
    ray.kill(victim)
    error = wait_dead(ray, victim)
    assert actor_id in str(error)
    assert error.actor_id == actor_id  # type: ignore[attr-defined]


def test_task_that_depends_on_a_dead_actor_fails(ray: Ray) -> None:
    victim = ray.remote(Victim).remote()
    ref = victim.leave.remote(0)
    use = ray.remote(lambda value: value).remote(ref)
    with pytest.raises(ray.exceptions.RayError):
        ray.get(use)


def test_other_actors_are_untouched(ray: Ray) -> None:
    victim, other = ray.remote(Victim).remote(), ray.remote(Victim).remote()
    ray.get([victim.value.remote(), other.value.remote()])
    ray.kill(victim)
    wait_dead(ray, victim)
    assert ray.get(other.value.remote()) == 1


def test_child_actors_die_with_their_parent(ray: Ray) -> None:
    @ray.remote(num_cpus=0)
    class Parent:
        def child(self) -> tuple[int, int]:
            self.kept = ray.remote(num_cpus=0)(Victim).remote()
            return os.getpid(), ray.get(self.kept.pid.remote())

    parent = Parent.remote()
    pids = ray.get(parent.child.remote())
    ray.kill(parent)
    wait_until(lambda: all(process_gone(pid) for pid in pids))


def test_children_of_a_crashed_actor_die(ray: Ray) -> None:
    @ray.remote
    class Maker:
        def make(self) -> Any:
            self.child = ray.remote(Victim).options(num_cpus=0).remote()
            return self.child, ray.get(self.child.pid.remote())

        def leave(self) -> None:
            os._exit(1)

    maker = Maker.options(num_cpus=0).remote()
    child, pid = ray.get(maker.make.remote())
    assert ray.get(child.value.remote()) == 1
    maker.leave.remote()
    wait_dead(ray, child)
    wait_until(lambda: process_gone(pid))


def test_the_call_that_catches_its_exit_gives_nothing(ray: Ray) -> None:
    @ray.remote
    class Sync:
        def leave(self) -> str:
            try:
                ray.actor.exit_actor()
            except SystemExit:
                return "caught"

    class Async:
        async def leave(self, pause: bool) -> str:
            if pause:
                await asyncio.sleep(0.01)
            try:
                ray.actor.exit_actor()
            except ray.exceptions.AsyncioActorExit:
                return "caught"

    kinds = ray.remote(Async), ray.remote(concurrency_groups={"one": 1})(Async)
    threaded = Sync.options(max_concurrency=2)
    calls = [Sync.remote().leave.remote(), threaded.remote().leave.remote()]
    calls += [kind.remote().leave.remote(pause) for kind in kinds for pause in (False, True)]
    for call in calls:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(call)


def test_the_error_of_a_killed_actor_names_ray_kill(ray: Ray) -> None:
    actor = ray.remote(type("Killed", (), {"ping": lambda self: 1})).remote()
    ray.get(actor.ping.remote())
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"it was killed by `ray\.kill`"):
        ray.get(actor.ping.remote())


# ---- __ray_shutdown__ ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["__ray_terminate__", "exit_actor", "last handle"])
def test_the_shutdown_hook_runs_once_before_exit_handlers(
    ray: Ray, journal: Journal, end: str
) -> None:
    @ray.remote
    class Closing:
        def __init__(self) -> None:
            import atexit

            atexit.register(journal.add, "exit handler")

        def __ray_shutdown__(self) -> None:
            journal.add("shutdown")

        def pid(self) -> int:
            return os.getpid()

        def leave(self) -> None:
            ray.actor.exit_actor()

    actor = Closing.remote()
    pid = ray.get(actor.pid.remote())
    if end == "__ray_terminate__":
        actor.__ray_terminate__.remote()
    elif end == "exit_actor":
        actor.leave.remote()
    else:
        del actor
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == ["shutdown", "exit handler"]


def test_the_shutdown_hook_does_not_run_on_kill(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Closing:
        def __ray_shutdown__(self) -> None:
            journal.add("shutdown")

        def pid(self) -> int:
            return os.getpid()

    actor = Closing.remote()
    pid = ray.get(actor.pid.remote())
    ray.kill(actor)
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == []


def test_a_shutdown_hook_that_raises_does_not_keep_the_actor(ray: Ray, journal: Journal) -> None:
    @ray.remote
    class Failing:
        def __ray_shutdown__(self) -> None:
            journal.add("shutdown")
            raise RuntimeError("in the hook")

        def pid(self) -> int:
            return os.getpid()

    actor = Failing.remote()
    pid = ray.get(actor.pid.remote())
    del actor
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == ["shutdown"]


def test_errors_name_the_class_in_full(ray: Ray) -> None:
    @ray.remote
    class Inner:
        pass

    actor = Inner.remote()
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError) as caught:
        ray.get(actor.__ray_ready__.remote())
    name = "test_errors_name_the_class_in_full.<locals>.Inner"
    assert f"class_name: {name}\n" in str(caught.value)


def test_the_header_of_a_class_that_is_not_imported_names_it(ray: Ray) -> None:
    class Missing:
        def __reduce__(self) -> Any:
            return __import__, ("no_such_module_there",)

    @ray.remote
    class Needs:
        needed = Missing()

        def method(self) -> None:
            pass

    with pytest.raises(ray.exceptions.ActorDiedError) as caught:
        ray.get(Needs.remote().method.remote())
    assert "ray::Needs.__init__()" in str(caught.value)
    assert "no_such_module_there" in str(caught.value)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_exit_actor_in_the_constructor(ray: Ray, kind: str) -> None:
    class Plain:
        def __init__(self) -> None:
            ray.actor.exit_actor()

        def value(self) -> int:
            return 1

    class Async(Plain):
        async def value(self) -> int:
            return 1

    actor = ray.remote(Plain if kind == "plain" else Async).remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(actor.value.remote())


def test_exit_actor_deep_in_a_method_runs_what_is_to_be_run_finally(
    ray: Ray, journal: Journal
) -> None:
    class Nested(Victim):
        def leave(self) -> str:
            try:
                self.deeper()
            finally:
                journal.add("finally")
            return "went on"

        def deeper(self) -> None:
            ray.actor.exit_actor()

    actor = ray.remote(Nested).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.leave.remote())
    wait_dead(ray, actor)
    assert journal.lines() == ["finally"]


def test_exit_actor_in_a_generator_comes_behind_its_items(ray: Ray) -> None:
    class Yielding(Victim):
        def items(self) -> Any:
            yield 1
            ray.actor.exit_actor()
            yield 2

    actor = ray.remote(Yielding).remote()
    items = actor.items.remote()
    assert ray.get(next(items)) == 1
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(next(items))
    wait_dead(ray, actor)


@pytest.mark.ray_differs("a call in another thread keeps the actor there")
def test_exit_actor_of_a_threaded_actor_fails_the_other_calls(ray: Ray, gate: Any) -> None:
    started, never = gate("started"), gate("never")

    class Threaded(Victim):
        def block(self) -> None:
            started.open()
            never.wait()

        def leave(self) -> None:
            ray.actor.exit_actor()

    actor = ray.remote(max_concurrency=2)(Threaded).remote()
    blocked = actor.block.remote()
    started.wait()
    for ref in [actor.leave.remote(), blocked]:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref, timeout=60)


@pytest.mark.ray_differs("`__del__` runs for one more instance there")
@pytest.mark.parametrize("end", ["__ray_terminate__", "exit_actor", "last handle", "kill"])
def test_del_of_the_instance_runs_once_and_not_on_kill(
    ray: Ray, journal: Journal, end: str
) -> None:
    class Deleted(Victim):
        def __del__(self) -> None:
            journal.add("del")

        def leave(self) -> None:
            ray.actor.exit_actor()

    actor = ray.remote(Deleted).remote()
    pid = ray.get(actor.pid.remote())
    if end == "__ray_terminate__":
        actor.__ray_terminate__.remote()
    elif end == "exit_actor":
        actor.leave.remote()
    elif end == "kill":
        ray.kill(actor)
    else:
        del actor
    wait_until(lambda: process_gone(pid))
    assert journal.lines() == ([] if end == "kill" else ["del"])
