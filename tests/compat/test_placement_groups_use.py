"""Work inside placement groups: where it runs, what it sees, how it ends with its group."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import ENGINE
from .groups import groups_module, in_group, state_of, strategies_module
from .helpers import Ray, wait_until


def created(ray: Ray, bundles: list[dict[str, float]], **more: Any) -> Any:
    group = ray.util.placement_group(bundles, **more)
    assert group.wait(30)
    return group


def seen(ray: Ray) -> Any:
    """A task: (id of its group, the group, its resources, whether its children go there)."""

    @ray.remote
    def look() -> Any:
        context = ray.get_runtime_context()
        return (
            context.get_placement_group_id(),
            ray.util.get_current_placement_group(),
            context.get_assigned_resources(),
            context.should_capture_child_tasks_in_placement_group,
        )

    return look


def actor_class(ray: Ray) -> Any:
    look = seen(ray)

    @ray.remote
    class Place:
        def pid(self) -> int:
            return os.getpid()

        def look(self) -> Any:
            context = ray.get_runtime_context()
            return context.get_placement_group_id(), ray.util.get_current_placement_group()

        def child(self) -> Any:
            return ray.get(look.remote())[0]

        def sleep(self) -> None:
            time.sleep(60)

    return Place


# ---- tasks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", [-1, 0, 1])
def test_a_task_runs_in_the_group(machine: Ray, bundle: int) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])
    task = seen(machine).options(scheduling_strategy=in_group(machine, group, bundle))
    assert machine.get(task.remote()) == (group.id.hex(), group, {"CPU": 1.0}, False)


def test_outside_there_is_no_group(machine: Ray) -> None:
    assert machine.get(seen(machine).remote())[:2] == (None, None)
    assert machine.util.get_current_placement_group() is None
    assert machine.get_runtime_context().get_placement_group_id() is None


def test_resources_come_from_the_bundle(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1, "slots": 1}])
    strategy = in_group(machine, group, 1)
    task = seen(machine).options(scheduling_strategy=strategy, resources={"slots": 0.5})
    assert machine.get(task.remote())[2] == {"CPU": 1.0, "slots": 0.5}


def test_a_bundle_runs_no_more_than_it_holds(machine: Ray, journal: Any) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])

    @machine.remote
    def run(i: int) -> None:
        journal.add(f"+{i}")
        time.sleep(0.01)
        journal.add(f"-{i}")

    task = run.options(scheduling_strategy=in_group(machine, group, 0))
    machine.get([task.remote(i) for i in range(8)])
    lines = journal.lines()
    assert [line[0] for line in lines] == ["+", "-"] * 8


def test_any_bundle_means_all_of_them(machine: Ray, gate: Any) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])
    mine, other = gate("mine"), gate("other")

    @machine.remote
    def meet(first: Any, second: Any) -> None:
        first.open()
        second.wait()

    task = meet.options(scheduling_strategy=in_group(machine, group))
    machine.get([task.remote(mine, other), task.remote(other, mine)])


def test_work_waits_for_the_group(machine: Ray) -> None:
    first = created(machine, [{"CPU": 4}])
    second = machine.util.placement_group([{"CPU": 2}])
    ref = seen(machine).options(scheduling_strategy=in_group(machine, second)).remote()
    assert machine.wait([ref], timeout=0.3)[0] == []
    machine.util.remove_placement_group(first)
    assert machine.get(ref, timeout=120)[0] == second.id.hex()


def test_a_blocked_task_lends_its_cpu_inside_the_group(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    inner = machine.remote(lambda: 7).options(scheduling_strategy=in_group(machine, group))

    @machine.remote
    def outer() -> int:
        return int(machine.get(inner.remote()))

    assert machine.get(outer.options(scheduling_strategy=in_group(machine, group)).remote()) == 7


def test_the_older_options(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        task = seen(machine).options(placement_group=group, placement_group_bundle_index=1)
        assert machine.get(task.remote())[0] == group.id.hex()


def test_no_group_at_all(machine: Ray) -> None:
    task = seen(machine).options(scheduling_strategy=in_group(machine, None))
    assert machine.get(task.remote())[0] is None


# ---- children ------------------------------------------------------------------------------------


def nested(ray: Ray) -> Any:
    look = seen(ray)
    default = look.options(scheduling_strategy="DEFAULT")

    @ray.remote
    def parent() -> Any:
        return ray.get(look.remote())[0], ray.get(default.remote())[0]

    return parent


@pytest.mark.parametrize("captures", [None, False, True])
def test_children_go_along_where_that_was_asked_for(machine: Ray, captures: bool | None) -> None:
    group = created(machine, [{"CPU": 2}])
    task = nested(machine).options(scheduling_strategy=in_group(machine, group, -1, captures))
    expected = group.id.hex() if captures else None
    assert machine.get(task.remote()) == (expected, None)


def test_one_worker_runs_both_kinds_in_turn(machine: Ray) -> None:
    group = created(machine, [{"CPU": 2}])
    parent = nested(machine)
    inside = parent.options(scheduling_strategy=in_group(machine, group, -1, True))
    for _ in range(3):
        assert machine.get(inside.remote())[0] == group.id.hex()
        assert machine.get(parent.remote())[0] is None


@pytest.mark.parametrize("captures", [False, True])
def test_children_of_actors(machine: Ray, captures: bool) -> None:
    group = created(machine, [{"CPU": 2}])
    strategy = in_group(machine, group, -1, captures)
    actor = actor_class(machine).options(num_cpus=1, scheduling_strategy=strategy).remote()
    assert machine.get(actor.child.remote()) == (group.id.hex() if captures else None)


# ---- actors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"num_cpus": 0}, {"num_cpus": 1}])
def test_an_actor_lives_in_the_group(machine: Ray, options: dict[str, Any]) -> None:
    group = created(machine, [{"CPU": 1}])
    strategy = in_group(machine, group, 0)
    actor = actor_class(machine).options(scheduling_strategy=strategy, **options).remote()
    assert machine.get(actor.look.remote()) == (group.id.hex(), group)


def test_an_actor_holds_its_part_of_the_bundle(machine: Ray) -> None:
    group = created(machine, [{"CPU": 2}])
    strategy = in_group(machine, group)
    cls = actor_class(machine).options(num_cpus=1, scheduling_strategy=strategy)
    actors = [cls.remote() for _ in range(2)]
    machine.get([actor.pid.remote() for actor in actors])
    third = cls.remote()
    assert machine.wait([third.pid.remote()], timeout=0.3)[0] == []
    machine.kill(actors[0])
    machine.get(third.pid.remote(), timeout=120)


def test_an_actor_restarts_in_its_group(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    actor = (
        actor_class(machine)
        .options(
            num_cpus=1,
            max_restarts=1,
            max_task_retries=-1,
            scheduling_strategy=in_group(machine, group),
        )
        .remote()
    )
    pid = machine.get(actor.pid.remote())
    machine.kill(actor, no_restart=False)
    wait_until(lambda: machine.get(actor.pid.remote()) != pid)
    assert machine.get(actor.look.remote())[0] == group.id.hex()


# ---- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", [2, 7, -2])
def test_there_is_no_such_bundle(machine: Ray, bundle: int) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])
    task = seen(machine).options(scheduling_strategy=in_group(machine, group, bundle))
    with pytest.raises(ValueError, match="bundle index"):
        task.remote()


@pytest.mark.parametrize("options", [{"num_cpus": 2}, {"resources": {"slots": 1}}])
def test_a_task_that_fits_no_bundle(machine: Ray, options: dict[str, Any]) -> None:
    group = created(machine, [{"CPU": 1}, {"CPU": 1}])
    task = seen(machine).options(scheduling_strategy=in_group(machine, group), **options)
    with pytest.raises(ValueError, match="cannot fit into any bundles") as caught:
        task.remote()
    text = str(caught.value)
    assert text.startswith("Cannot schedule seen.<locals>.look with")
    assert f"{next(iter(options.values()))!r}".strip("{}") in text


def test_an_actor_needs_a_cpu_to_start(machine: Ray) -> None:
    group = created(machine, [{"slots": 1}])
    cls = actor_class(machine).options(scheduling_strategy=in_group(machine, group))
    with pytest.raises(ValueError, match="for creation"):
        cls.remote()


def test_a_bundle_without_a_group(machine: Ray) -> None:
    with pytest.raises(ValueError, match="must be -1"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        seen(machine).options(placement_group_bundle_index=0).remote()


def test_a_group_and_a_strategy_exclude_each_other(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    with pytest.raises(ValueError, match="scheduling_strategy"):
        seen(machine).options(placement_group=group, scheduling_strategy="SPREAD")


def test_options_of_the_wrong_type(machine: Ray) -> None:
    with pytest.raises(TypeError):
        machine.remote(scheduling_strategy=5)(lambda: 1)
    with pytest.raises(TypeError):
        machine.remote(placement_group=5)(lambda: 1)


# ---- the end of a group --------------------------------------------------------------------------


def running_in(ray: Ray, group: Any, gate: Any, name: str, **options: Any) -> Any:
    started = gate(name)

    @ray.remote
    def run() -> None:
        started.open()
        time.sleep(60)

    strategy = in_group(ray, group)
    ref = run.options(scheduling_strategy=strategy, num_cpus=0.5, **options).remote()
    started.wait()
    return ref


def test_running_tasks_end_with_the_group(machine: Ray, gate: Any) -> None:
    group = created(machine, [{"CPU": 1}])
    ref = running_in(machine, group, gate, "once", max_retries=0)
    machine.util.remove_placement_group(group)
    with pytest.raises(machine.exceptions.WorkerCrashedError):
        machine.get(ref, timeout=120)


@pytest.mark.ray_differs("Ray sometimes lets the next attempt wait for ever")
def test_running_tasks_with_retries_end_with_the_group(machine: Ray, gate: Any) -> None:
    group = created(machine, [{"CPU": 1}])
    ref = running_in(machine, group, gate, "again", max_retries=3)
    machine.util.remove_placement_group(group)
    with pytest.raises(machine.exceptions.TaskPlacementGroupRemoved):
        machine.get(ref, timeout=120)


def test_queued_tasks_end_with_the_group(machine: Ray, gate: Any) -> None:
    group = created(machine, [{"CPU": 0.5}])
    running_in(machine, group, gate, "first", max_retries=0)
    queued = seen(machine).options(num_cpus=0.5, scheduling_strategy=in_group(machine, group))
    refs = [queued.remote() for _ in range(3)]
    machine.util.remove_placement_group(group)
    for ref in refs:
        with pytest.raises(machine.exceptions.TaskPlacementGroupRemoved):
            machine.get(ref, timeout=120)


def test_actors_end_with_the_group(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    strategy = in_group(machine, group)
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    machine.get(actor.pid.remote())
    sleeping = actor.sleep.remote()
    machine.util.remove_placement_group(group)
    with pytest.raises(machine.exceptions.ActorDiedError):
        machine.get(sleeping, timeout=120)
    with pytest.raises(machine.exceptions.ActorDiedError):
        machine.get(actor.pid.remote(), timeout=120)


@pytest.mark.ray_differs("Ray calls it unavailable, and may wait for it to come back")
def test_actors_do_not_restart_in_a_group_that_has_gone(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    strategy = in_group(machine, group)
    actor = actor_class(machine).options(max_restarts=-1, scheduling_strategy=strategy).remote()
    machine.get(actor.pid.remote())
    machine.util.remove_placement_group(group)
    with pytest.raises(machine.exceptions.ActorDiedError):
        machine.get(actor.sleep.remote(), timeout=120)


def test_waiting_ends_with_the_group(machine: Ray) -> None:
    first = created(machine, [{"CPU": 4}])
    second = machine.util.placement_group([{"CPU": 1}])
    ready = second.ready()
    machine.util.remove_placement_group(second)
    with pytest.raises(machine.exceptions.TaskPlacementGroupRemoved):
        machine.get(ready, timeout=120)
    with pytest.raises(Exception, match="does not exist"):
        second.wait(1)
    assert state_of(machine, first) == "CREATED"


def test_what_others_run_goes_on(machine: Ray, gate: Any) -> None:
    group = created(machine, [{"CPU": 1}])
    running_in(machine, group, gate, "inside", max_retries=0)
    door = gate("door")
    outside = machine.remote(lambda: door.wait() or "still here").remote()
    machine.util.remove_placement_group(group)
    wait_until(lambda: state_of(machine, group) == "REMOVED")
    wait_until(lambda: machine.available_resources().get("CPU") == 3.0)
    door.open()
    assert machine.get(outside) == "still here"


@pytest.mark.ray_differs("Ray lets work for a group that has gone wait for ever")
def test_work_for_a_removed_group_fails(machine: Ray) -> None:
    group = created(machine, [{"CPU": 1}])
    strategy = in_group(machine, group)
    task = seen(machine).options(scheduling_strategy=strategy)
    machine.get(task.remote())
    machine.util.remove_placement_group(group)
    wait_until(lambda: state_of(machine, group) == "REMOVED")
    for ref in [
        task.remote(),
        *seen(machine).options(scheduling_strategy=strategy, num_returns=2).remote(),
    ]:
        with pytest.raises(machine.exceptions.TaskPlacementGroupRemoved):
            machine.get(ref, timeout=120)
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    with pytest.raises(machine.exceptions.ActorPlacementGroupRemoved):
        machine.get(actor.pid.remote(), timeout=120)


@pytest.mark.ray_differs("Ray lets work for a group that has gone wait for ever")
def test_work_that_waits_for_a_group_ends_with_it(machine: Ray) -> None:
    created(machine, [{"CPU": 4}])
    group = machine.util.placement_group([{"CPU": 1}])
    strategy = in_group(machine, group)
    ref = seen(machine).options(scheduling_strategy=strategy).remote()
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    call = actor.pid.remote()
    machine.util.remove_placement_group(group)
    with pytest.raises(machine.exceptions.TaskPlacementGroupRemoved):
        machine.get(ref, timeout=120)
    with pytest.raises(machine.exceptions.ActorPlacementGroupRemoved):
        machine.get(call, timeout=120)


@pytest.mark.ray_differs("Ray says so in the output of its own processes")
@pytest.mark.parametrize(
    ("bundles", "strategy", "words"),
    [
        ([{"CPU": 3}, {"CPU": 2}], "PACK", "'CPU': 5"),
        ([{"unobtainium": 1}], "PACK", "'unobtainium': 1"),
        ([{"CPU": 1}, {"CPU": 1}], "STRICT_SPREAD", "2 nodes"),
    ],
)
def test_what_can_never_be_is_said_at_once(
    machine: Ray, bundles: Any, strategy: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.util.placement_group(bundles, strategy=strategy)
    text = capfd.readouterr().err
    assert text.count("will wait for ever") == 1
    assert words in text


# ---- jobs ----------------------------------------------------------------------------------------


def test_a_group_of_a_task_outlives_the_task(machine: Ray) -> None:
    group = machine.get(machine.remote(lambda: machine.util.placement_group([{"CPU": 1}])).remote())
    assert group.wait(30)
    time.sleep(0.2)
    assert state_of(machine, group) == "CREATED"


@pytest.mark.skipif(ENGINE != "whipray", reason="joins a session by its socket")
@pytest.mark.parametrize("detached", [False, True])
def test_a_group_ends_with_its_job_unless_detached(
    machine: Ray, run_script: Callable[..., str], detached: bool
) -> None:
    address = machine.get_runtime_context().gcs_address
    lifetime = "detached" if detached else None
    text = run_script(
        f"""
        ray.init(address={address!r}, namespace="groups")
        group = ray.util.placement_group([{{"CPU": 1}}], lifetime={lifetime!r}, name="left")
        assert group.wait(30)
        print(group.id.hex())
        """
    )
    id = machine.PlacementGroupID.from_hex(text.strip().splitlines()[-1])
    group = groups_module(machine).PlacementGroup(id)
    if detached:
        assert state_of(machine, group) == "CREATED"
    else:
        wait_until(lambda: state_of(machine, group) == "REMOVED")


def test_names_of_strategies(machine: Ray) -> None:
    module = strategies_module(machine)
    strategy = module.PlacementGroupSchedulingStrategy(None)
    assert strategy.placement_group_bundle_index == -1
    assert strategy.placement_group_capture_child_tasks is None


def test_options_that_are_deprecated_say_so_each_time(machine: Ray) -> None:
    @machine.remote
    def task() -> int:
        return 1

    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="capture_child_tasks parameter is deprecated"):
            ref = task.options(placement_group_capture_child_tasks=True).remote()
        assert machine.get(ref) == 1
