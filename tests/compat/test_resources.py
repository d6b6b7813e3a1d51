"""Fractional, custom and zero resources; limits kept; exact accounting after errors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import init_defaults
from .helpers import Journal, Ray, wait_until


@pytest.fixture(scope="module")
def _machine(engine: Ray) -> Iterator[None]:
    engine.shutdown()
    saved = os.environ.pop("OMP_NUM_THREADS", None)  # other tests of this run may set it
    engine.init(**{**init_defaults(), "resources": {"slots": 4, "single": 1}})
    yield
    if saved is not None:
        os.environ["OMP_NUM_THREADS"] = saved
    engine.shutdown()


@pytest.fixture
def machine(engine: Ray, _machine: None) -> Ray:
    """An instance with two CPUs, four `slots` and one `single`."""
    return engine


def wait_all_free(ray: Ray) -> None:
    """Every resource of the instance is available again, exactly."""

    def free() -> bool:
        total, now = ray.cluster_resources(), ray.available_resources()
        return all(now.get(name) == total[name] for name in ("CPU", "slots", "single"))

    wait_until(free)


def overlap(ray: Ray, journal: Journal, count: int, **options: Any) -> int:
    """Run `count` tasks with `options`; the highest number seen running at once."""

    @ray.remote(**options)
    def run(i: int) -> None:
        journal.add(f"+{i}")
        time.sleep(0.01)
        journal.add(f"-{i}")

    ray.get([run.remote(i) for i in range(count)])
    most = now = 0
    for line in journal.lines():
        now += 1 if line[0] == "+" else -1
        most = max(most, now)
    return most


def test_tasks_with_a_whole_machine_run_one_at_a_time(machine: Ray, journal: Journal) -> None:
    assert overlap(machine, journal, 6, num_cpus=2) == 1


def test_custom_resource_limits_tasks(machine: Ray, journal: Journal) -> None:
    assert overlap(machine, journal, 6, num_cpus=0, resources={"single": 1}) == 1


def test_two_cpus_never_run_more_than_two(machine: Ray, journal: Journal) -> None:
    assert overlap(machine, journal, 10, num_cpus=1) <= 2


def test_fractions_share_one_unit(machine: Ray, gate: Any) -> None:
    mine, other = gate("mine"), gate("other")

    @machine.remote(num_cpus=0, resources={"single": 0.5})
    def meet(first: Any, second: Any) -> None:
        first.open()
        second.wait()

    machine.get([meet.remote(mine, other), meet.remote(other, mine)])


def test_half_cpus_run_four_at_once(machine: Ray, gate: Any) -> None:
    doors = [gate(f"door{i}") for i in range(4)]

    @machine.remote(num_cpus=0.5)
    def meet(i: int) -> int:
        doors[i].open()
        for door in doors:
            door.wait()
        return i

    assert machine.get([meet.remote(i) for i in range(4)]) == [0, 1, 2, 3]


def test_running_task_takes_its_share(machine: Ray, gate: Any) -> None:
    wait_all_free(machine)
    door = gate("door")
    run = machine.remote(num_cpus=0.25, resources={"slots": 1.5})(lambda: door.wait())
    ref = run.remote()
    wait_until(lambda: machine.available_resources().get("slots") == 2.5)
    assert machine.available_resources()["CPU"] == 1.75
    door.open()
    machine.get(ref)
    wait_all_free(machine)


def test_fully_used_resource_is_absent(machine: Ray, gate: Any) -> None:
    wait_all_free(machine)
    door = gate("door")
    ref = machine.remote(num_cpus=0, resources={"single": 1})(lambda: door.wait()).remote()
    wait_until(lambda: "single" not in machine.available_resources())
    door.open()
    machine.get(ref)
    wait_all_free(machine)


def test_too_large_request_waits_without_blocking_others(machine: Ray) -> None:
    huge = machine.remote(num_cpus=100)(lambda: 1).remote()
    unknown = machine.remote(resources={"no_such_thing": 1})(lambda: 1).remote()
    fine = [machine.remote(lambda i=i: i).remote() for i in range(4)]
    assert machine.get(fine) == [0, 1, 2, 3]
    assert machine.wait([huge, unknown], timeout=0.1)[0] == []
    machine.cancel(huge)
    machine.cancel(unknown)


def test_zero_cpu_tasks_run_while_all_cpus_are_busy(machine: Ray, gate: Any) -> None:
    door = gate("door")
    busy = [machine.remote(lambda: door.wait()).remote() for _ in range(2)]
    assert machine.get(machine.remote(num_cpus=0)(lambda: "ran").remote()) == "ran"
    door.open()
    machine.get(busy)


def test_resource_of_zero_asks_for_nothing(machine: Ray) -> None:
    task = machine.remote(resources={"no_such_thing": 0})(lambda: 1)
    assert machine.get(task.remote()) == 1


def test_accounting_after_exceptions(machine: Ray) -> None:
    @machine.remote(num_cpus=0.3, resources={"slots": 0.7}, max_retries=0)
    def fail() -> None:
        raise ValueError

    for ref in [fail.remote() for _ in range(10)]:
        with pytest.raises(ValueError):
            machine.get(ref)
    wait_all_free(machine)


def test_accounting_after_crashes(machine: Ray) -> None:
    @machine.remote(num_cpus=0.1, resources={"slots": 0.3}, max_retries=0)
    def crash() -> None:
        os._exit(1)

    for ref in [crash.remote() for _ in range(4)]:
        with pytest.raises(machine.exceptions.WorkerCrashedError):
            machine.get(ref)
    wait_all_free(machine)


def test_accounting_after_cancel(machine: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("never")

    @machine.remote(resources={"single": 1})
    def run() -> None:
        started.open()
        door.wait()

    running, queued = run.remote(), run.remote()
    started.wait()
    for ref in (queued, running):
        machine.cancel(ref)
        with pytest.raises(machine.exceptions.TaskCancelledError):
            machine.get(ref)
    wait_all_free(machine)


def test_accounting_after_many_fractions(machine: Ray) -> None:
    task = machine.remote(num_cpus=0.1, resources={"slots": 0.3})(lambda i: i)
    assert sum(machine.get([task.remote(i) for i in range(100)])) == 4950
    wait_all_free(machine)


def test_actor_holds_what_it_asked_for(machine: Ray) -> None:
    wait_all_free(machine)
    holder = machine.remote(num_cpus=1, resources={"slots": 2})(type("Holder", (), {})).remote()
    machine.get(holder.__ray_ready__.remote())
    wait_until(lambda: machine.available_resources().get("slots") == 2.0)
    assert machine.available_resources()["CPU"] == 1.0
    machine.kill(holder)
    wait_all_free(machine)


def test_actor_without_a_request_holds_no_cpu(machine: Ray) -> None:
    actors = [machine.remote(type("Holder", (), {})).remote() for _ in range(4)]
    machine.get([actor.__ray_ready__.remote() for actor in actors])
    wait_all_free(machine)
    assert machine.get(machine.remote(num_cpus=2)(lambda: "all cpus").remote()) == "all cpus"


def test_accounting_after_a_dropped_actor(machine: Ray) -> None:
    wait_all_free(machine)
    holder = machine.remote(resources={"single": 1})(type("Holder", (), {})).remote()
    machine.get(holder.__ray_ready__.remote())
    wait_until(lambda: "single" not in machine.available_resources())
    del holder
    wait_all_free(machine)


def test_accounting_after_a_failed_constructor(machine: Ray) -> None:
    @machine.remote(num_cpus=1, resources={"single": 1})
    class Broken:
        def __init__(self) -> None:
            raise ValueError

        def value(self) -> int:
            return 1

    with pytest.raises(machine.exceptions.ActorDiedError):
        machine.get(Broken.remote().value.remote())
    wait_all_free(machine)


def test_actor_waits_for_its_resource(machine: Ray) -> None:
    plain = machine.remote(num_cpus=0, resources={"single": 1})(type("Holder", (), {}))
    first = plain.remote()
    machine.get(first.__ray_ready__.remote())
    second = plain.remote()
    ready = second.__ray_ready__.remote()
    assert machine.wait([ready], timeout=0.2)[0] == []
    machine.kill(first)
    machine.get(ready)
    machine.kill(second)
    wait_all_free(machine)


def test_there_is_one_of_each_implicit_resource(machine: Ray) -> None:
    name = "node:__internal_implicit_resource_an_application:its_deployment_of_a_long_name"
    half = machine.remote(num_cpus=0, resources={name: 0.5})(type("Half", (), {}))
    actors = [half.remote() for _ in range(3)]
    calls = [actor.__ray_ready__.remote() for actor in actors]
    ready, waiting = machine.wait(calls, num_returns=2)
    assert machine.wait(waiting, timeout=0.2)[0] == []
    for shown in (machine.cluster_resources(), machine.nodes()[0]["Resources"]):
        assert name not in shown
    machine.kill(actors[calls.index(ready[0])])
    machine.get(waiting)


def test_options_change_the_request(machine: Ray, gate: Any) -> None:
    door = gate("door")
    task = machine.remote(num_cpus=100)(lambda: door.wait() or "ran")
    ref = task.options(num_cpus=0, resources={"single": 1}).remote()
    wait_until(lambda: "single" not in machine.available_resources())
    door.open()
    assert machine.get(ref) == "ran"
    wait_all_free(machine)


def test_task_sees_what_it_was_given(machine: Ray) -> None:
    @machine.remote(num_cpus=0.5, resources={"slots": 2})
    def given() -> dict[str, float]:
        return dict(machine.get_runtime_context().get_assigned_resources())

    assert machine.get(given.remote()) == {"CPU": 0.5, "slots": 2.0}


def test_blocked_parents_give_cpus_back_and_take_them_again(machine: Ray) -> None:
    @machine.remote(num_cpus=2)
    def parent() -> int:
        return int(machine.get(machine.remote(num_cpus=2)(lambda: 7).remote()))

    assert machine.get([parent.remote(), parent.remote()]) == [7, 7]
    wait_all_free(machine)


def test_custom_resources_are_kept_while_blocked(machine: Ray, gate: Any) -> None:
    started, door = gate("started"), gate("door")

    @machine.remote(num_cpus=0)
    def child() -> None:
        started.open()
        door.wait()

    @machine.remote(resources={"single": 1})
    def parent() -> None:
        machine.get(child.remote())

    ref = parent.remote()
    started.wait()
    wait_until(lambda: "single" not in machine.available_resources())
    door.open()
    machine.get(ref)
    wait_all_free(machine)


@pytest.mark.parametrize("cpus", [1, 2])
def test_thread_count_of_libraries_follows_the_cpus(machine: Ray, cpus: int) -> None:
    read = machine.remote(num_cpus=cpus)(lambda: os.environ.get("OMP_NUM_THREADS"))
    assert machine.get(read.remote()) == str(cpus)


@pytest.mark.ray_differs("Ray warns later, in the output of its own processes")
def test_what_can_never_run_is_said_at_once(ray: Ray, capfd: pytest.CaptureFixture[str]) -> None:
    task = ray.remote(lambda: 1)
    refs = [task.options(resources={"unobtainium": 2}).remote() for _ in range(2)]
    text = capfd.readouterr().err
    assert text.count("will wait for ever") == 1
    assert "{'unobtainium': 2" in text
    for ref in refs:
        ray.cancel(ref)
    ray.get(task.remote())
    assert capfd.readouterr().err == ""


def test_an_actor_that_wishes_for_memory_holds_it(start: Any, engine: Ray) -> None:
    start(num_cpus=2, _memory=500 << 20)

    @engine.remote(memory=200 << 20)
    class Large:
        def held(self) -> dict[str, float]:
            return dict(engine.get_runtime_context().get_assigned_resources())

    actors = [Large.remote(), Large.remote()]
    held = engine.get([actor.held.remote() for actor in actors])
    assert held == [{"memory": 200 << 20}] * 2
    wait_until(lambda: engine.available_resources()["memory"] == 100 << 20)
    third = Large.remote().held.remote()
    assert engine.wait([third], timeout=0.5) == ([], [third])
    del actors
    assert engine.get(third) == {"memory": 200 << 20}


def test_memory_comes_in_whole_bytes(ray: Ray) -> None:
    assert ray.cluster_resources()["memory"] % 1 == 0
