"""Workers are killed at random while placement groups come and go with work inside."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

import whipray
from whipray.exceptions import RayError
from whipray.util import placement_group, placement_group_table, remove_placement_group
from whipray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from .helpers import KILLS, Killer, living, wait_until, wait_until_whole
from .mixed_load import Waits


@whipray.remote(max_retries=-1, num_cpus=1)
def square(x: int) -> int:
    return x * x


@whipray.remote(max_retries=-1, num_cpus=1, num_gpus=0.5)
def drawn(x: int) -> tuple[int, int]:
    return x, len(whipray.get_gpu_ids())


@whipray.remote(max_retries=-1, num_cpus=1)
def parent(n: int) -> int:
    return sum(whipray.get([square.options(num_cpus=0).remote(i) for i in range(n)]))


@whipray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=1)
class Adder:
    def add(self, x: int, y: int) -> int:
        return x + y


def inside(group: Any, bundle: int = -1, captures: bool = False) -> Any:
    return PlacementGroupSchedulingStrategy(group, bundle, captures)


def one_round(waits: Waits) -> None:
    """Work in two groups; what is awaited comes, the rest ends with its group."""
    first = placement_group([{"CPU": 1}, {"CPU": 1, "GPU": 1}])
    second = placement_group([{"CPU": 2}])  # waits until the first one has gone
    late = square.options(scheduling_strategy=inside(second)).remote(9)
    assert waits.get(first.ready()) == first
    squares = [square.options(scheduling_strategy=inside(first)).remote(i) for i in range(4)]
    drawing = drawn.options(scheduling_strategy=inside(first, 1)).remote(3)
    tree = parent.options(scheduling_strategy=inside(first, 0, True)).remote(4)
    assert waits.get(squares) == [0, 1, 4, 9]
    assert waits.get(drawing) == (3, 1)
    assert waits.get(tree) == 14
    adder = Adder.options(scheduling_strategy=inside(first)).remote()
    assert waits.get(adder.add.remote(2, 3)) == 5
    left = [square.options(scheduling_strategy=inside(first)).remote(i) for i in range(4)]
    call = adder.add.remote(1, 1)
    remove_placement_group(first)
    for ref in [*left, call]:
        with contextlib.suppress(RayError):
            waits.get(ref)
    assert waits.get(late) == 81
    remove_placement_group(second)


def test_groups_survive_killed_workers() -> None:
    whipray.init(num_cpus=2, num_gpus=1, log_to_driver=False)
    try:
        before = living()
        waits, rounds = Waits(), 0
        with Killer(max(1, KILLS // 5), waits) as killer:
            while killer.is_alive():
                one_round(waits)
                rounds += 1
        assert killer.left == 0
        assert rounds > 0
        wait_until(
            lambda: {row["state"] for row in placement_group_table().values()} == {"REMOVED"}
        )
        wait_until_whole(before)
    finally:
        whipray.shutdown()


@pytest.mark.usefixtures("session")
def test_many_groups_with_work_in_them_leave_nothing() -> None:
    """Far more groups than there are numbers for queues: those of removed groups are used again."""
    before = living()
    for i in range(400):
        group = placement_group([{"CPU": 1}])
        ref = square.options(scheduling_strategy=inside(group)).remote(i)
        assert whipray.get(ref, timeout=60) == i * i
        remove_placement_group(group)
    del ref
    wait_until_whole(before)
