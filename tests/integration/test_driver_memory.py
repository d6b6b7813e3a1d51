"""A driver keeps nothing of what it is done with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import whipray
from tests.compat.helpers import wait_until
from tests.crash.record import in_use
from whipray import _core
from whipray._private import shapes
from whipray.exceptions import RayError
from whipray.util import placement_group, remove_placement_group
from whipray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    whipray.init(num_cpus=1, log_to_driver=False)
    yield
    whipray.shutdown()


@whipray.remote
def double(x: int) -> int:
    return x * 2


@whipray.remote
def fail() -> None:
    raise ValueError("on purpose")


@whipray.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@whipray.remote
class Adder:
    def add(self, x: int, y: int) -> int:
        return x + y


def objects() -> None:
    refs = [whipray.put(n) for n in range(10)] + [whipray.put(np.arange(50_000))]
    assert len(whipray.get(refs)) == 11


def tasks() -> None:
    assert whipray.get([double.remote(double.remote(n)) for n in range(3)]) == [0, 4, 8]


def errors() -> None:
    refs = [fail.remote(), double.remote(1)]
    whipray.cancel(refs[1])
    for ref in refs:
        with contextlib.suppress(RayError, ValueError):
            whipray.get(ref)


def streams() -> None:
    assert [whipray.get(ref) for ref in count.remote(3)] == [0, 1, 2]
    assert whipray.get(next(count.remote(3))) == 0  # and the rest is not read


def actors() -> None:
    assert whipray.get(Adder.remote().add.remote(1, 2)) == 3


def groups() -> None:
    group = placement_group([{"CPU": 1}])
    inside = double.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    assert whipray.get(inside.remote(1)) == 2
    remove_placement_group(group)


CASES = [(objects, 50), (tasks, 50), (errors, 50), (streams, 50), (actors, 5)]


@pytest.mark.parametrize(("use", "times"), [*CASES, (groups, 2 * shapes.FEW_TICKETS)])
def test_what_is_over_leaves_nothing(use: Callable[[], None], times: int) -> None:
    def blocks() -> float:
        for _ in range(times):
            use()
        return in_use()["driver_blocks"]

    before = blocks()
    assert blocks() < before + times


def test_resources_are_listed_without_looking_at_removed_groups() -> None:
    for _ in range(10):
        groups()
    group = placement_group([{"CPU": 1}])
    assert group.wait(60)
    assert [row[0] for row in _core.groups(True)] == [group.id.binary()]
    assert len(_core.groups()) == 11
    assert whipray.cluster_resources()[f"CPU_group_{group.id.hex()}"] == 1
    remove_placement_group(group)
    wait_until(lambda: not _core.groups(True))
    assert not [name for name in whipray.cluster_resources() if "_group_" in name]
