"""GPUs as the engine counts them; none is needed to run this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import init_defaults
from .groups import in_group
from .helpers import Ray, wait_until

VISIBLE = "CUDA_VISIBLE_DEVICES"
DOUBTFUL = (VISIBLE, "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES")


@pytest.fixture(scope="module")
def _machine(engine: Ray) -> Iterator[None]:
    engine.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name in DOUBTFUL:
            patch.delenv(name, raising=False)
        engine.init(**{**init_defaults(), "num_cpus": 8, "num_gpus": 4})
        yield
        engine.shutdown()


@pytest.fixture
def machine(engine: Ray, _machine: None) -> Iterator[Ray]:
    """An instance with eight CPUs and four GPUs."""
    yield engine
    wait_until(lambda: engine.available_resources().get("GPU") == 4.0)


def looking(ray: Ray, **options: Any) -> Any:
    """A task that tells which GPUs it has, in four ways."""

    @ray.remote(**{"num_cpus": 0, "max_calls": 0, **options})
    def look() -> Any:
        return seen(ray)

    return look


def seen(ray: Ray) -> Any:
    return (
        ray.get_gpu_ids(),
        os.environ.get(VISIBLE),
        ray.get_runtime_context().get_accelerator_ids()["GPU"],
        ray.get_runtime_context().get_assigned_resources().get("GPU"),
    )


def holder(ray: Ray, **options: Any) -> Any:
    @ray.remote(**options)
    class Holder:
        def look(self) -> Any:
            return seen(ray)

    return Holder


def test_counted(machine: Ray) -> None:
    assert machine.cluster_resources()["GPU"] == 4.0


def test_a_driver_has_none(machine: Ray) -> None:
    assert machine.get_gpu_ids() == []
    assert machine.get_runtime_context().get_accelerator_ids()["GPU"] == []


def test_a_task_without_gpus_has_none(machine: Ray) -> None:
    assert machine.get(looking(machine).remote()) == ([], None, [], None)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_task_sees_its_gpus(machine: Ray, count: int) -> None:
    ids, visible, listed, assigned = machine.get(looking(machine, num_gpus=count).remote())
    assert len(set(ids)) == count
    assert set(ids) <= set(range(4))
    assert sorted(visible.split(",")) == sorted(map(str, ids))
    assert sorted(listed) == sorted(map(str, ids))
    assert assigned == float(count)


def test_tasks_at_once_have_different_ones(machine: Ray, gate: Any) -> None:
    doors = [gate(f"door{i}") for i in range(4)]

    @machine.remote(num_cpus=0, num_gpus=1)
    def meet(i: int) -> Any:
        doors[i].open()
        for door in doors:
            door.wait()
        return machine.get_gpu_ids()

    found = machine.get([meet.remote(i) for i in range(4)])
    assert sorted(ids[0] for ids in found) == [0, 1, 2, 3]


def test_actors_keep_theirs(machine: Ray) -> None:
    actors = [holder(machine, num_gpus=1).remote() for _ in range(4)]
    first = machine.get([actor.look.remote() for actor in actors])
    assert sorted(ids[0] for ids, *_ in first) == [0, 1, 2, 3]
    assert machine.get([actor.look.remote() for actor in actors]) == first
    for ids, visible, listed, _ in first:
        assert visible == str(ids[0])
        assert listed == [str(ids[0])]
    for actor in actors:
        machine.kill(actor)


def test_an_actor_of_two(machine: Ray) -> None:
    actors = [holder(machine, num_gpus=2).remote() for _ in range(2)]
    one, other = (machine.get(actor.look.remote())[0] for actor in actors)
    assert sorted([*one, *other]) == [0, 1, 2, 3]
    for actor in actors:
        machine.kill(actor)


def test_fractions_share(machine: Ray) -> None:
    actors = [holder(machine, num_gpus=0.5).remote() for _ in range(8)]
    found = machine.get([actor.look.remote() for actor in actors])
    assert sorted(ids[0] for ids, *_ in found) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(assigned == 0.5 for *_, assigned in found)
    for actor in actors:
        machine.kill(actor)


def test_no_more_than_there_are(machine: Ray) -> None:
    actors = [holder(machine, num_gpus=2).remote() for _ in range(3)]
    refs = [actor.look.remote() for actor in actors]
    ready, waiting = machine.wait(refs, num_returns=2, timeout=120)
    assert machine.wait(waiting, timeout=0.3)[0] == []
    machine.kill(actors[refs.index(ready[0])])
    machine.get(waiting, timeout=120)
    for actor in actors:
        machine.kill(actor)


def test_ids_come_back_after_a_crash(machine: Ray) -> None:
    @machine.remote(num_cpus=0, num_gpus=4, max_retries=0)
    def crash() -> None:
        os._exit(1)

    for _ in range(2):
        with pytest.raises(machine.exceptions.WorkerCrashedError):
            machine.get(crash.remote())
    assert len(machine.get(looking(machine, num_gpus=4).remote())[0]) == 4


def test_the_variable_is_as_before_in_the_next_task(machine: Ray) -> None:
    for _ in range(3):
        assert machine.get(looking(machine, num_gpus=1).remote())[1] is not None
        assert machine.get(looking(machine).remote())[1] is None


def test_a_process_runs_one_gpu_task(machine: Ray) -> None:
    @machine.remote(num_cpus=0, num_gpus=1)
    def pid() -> int:
        return os.getpid()

    assert machine.get(pid.remote()) != machine.get(pid.remote())


def test_unless_told_otherwise(machine: Ray) -> None:
    @machine.remote(num_cpus=8, num_gpus=1, max_calls=0)
    def pid() -> int:
        return os.getpid()

    pids = [machine.get(pid.remote()) for _ in range(10)]
    assert len(set(pids)) < 10


@pytest.mark.parametrize("count", [1.5, 2.1])
def test_more_than_one_is_whole(machine: Ray, count: float) -> None:
    with pytest.raises(ValueError, match="whole number"):
        machine.remote(num_gpus=count)(lambda: 1).remote()


def test_in_a_placement_group(machine: Ray) -> None:
    group = machine.util.placement_group([{"GPU": 1, "CPU": 1}, {"GPU": 1, "CPU": 1}])
    assert group.wait(30)
    actors = [
        holder(machine, num_gpus=1)
        .options(scheduling_strategy=in_group(machine, group, bundle))
        .remote()
        for bundle in range(2)
    ]
    found = [machine.get(actor.look.remote())[0] for actor in actors]
    assert len({ids[0] for ids in found}) == 2
    outside = holder(machine, num_gpus=2).remote()
    assert not set(machine.get(outside.look.remote())[0]) & {ids[0] for ids in found}
    machine.kill(outside)
    machine.util.remove_placement_group(group)


# ---- the environment -----------------------------------------------------------------------------

LOOK = """
    import os
    @ray.remote(num_cpus=0)
    def look():
        return sorted(map(str, ray.get_gpu_ids())), os.environ.get("CUDA_VISIBLE_DEVICES")
    ray.init(**{**INIT, "num_gpus": 2})
    print(ray.get([look.options(num_gpus=n).remote() for n in (0, 1, 2)]))
"""


def test_a_preset_list_is_respected(run_script: Callable[..., str]) -> None:
    text = run_script(LOOK, **{VISIBLE: "7,GPU-a5"})
    assert "(['7'], '7')" in text
    assert "(['7', 'GPU-a5'], " in text
    assert "([], '7,GPU-a5')" in text


def test_more_than_the_preset_list(run_script: Callable[..., str]) -> None:
    text = run_script(
        """
        try:
            ray.init(**{**INIT, "num_gpus": 3})
        except ValueError as error:
            print("refused:", error)
        """,
        **{VISIBLE: "1,2"},
    )
    assert "refused:" in text
    assert "CUDA_VISIBLE_DEVICES contains" in text


def test_the_list_is_left_alone_where_that_was_asked_for(run_script: Callable[..., str]) -> None:
    text = run_script(LOOK, RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES="1", **{VISIBLE: "4,5"})
    assert "[([], '4,5'), (['4'], '4,5'), (['4', '5'], '4,5')]" in text


def test_nothing_is_shown_to_tasks_without_gpus(run_script: Callable[..., str]) -> None:
    text = run_script(LOOK, RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="1", **{VISIBLE: "4,5"})
    assert "([], '')" in text
    assert "(['4'], '4')" in text
