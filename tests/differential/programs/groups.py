"""Placement groups: what is refused, what is told, what runs in them."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


def part(ray: Ray, name: str) -> Any:
    return import_module(f"{ray.__name__}.util.{name}")


def make(ray: Ray, *args: Any, **options: Any) -> Any:
    return part(ray, "placement_group").placement_group(*args, **options)


def remove(ray: Ray, group: Any) -> None:
    part(ray, "placement_group").remove_placement_group(group)


BUNDLES: dict[str, Any] = {
    "none": [],
    "empty": [{}],
    "nothing of it": [{"CPU": 0}],
    "text": "CPU",
    "dict": {"CPU": 1},
    "numbers": [1],
    "text for a number": [{"CPU": "1"}],
    "number for a name": [{1: 1}],
    "two": [{"CPU": 1}, {"CPU": 0.5}],
}


@program(each=BUNDLES)
def bundles(ray: Ray, wanted: Any) -> Any:
    def told() -> Any:
        group = make(ray, wanted)
        found = group.bundle_specs, group.bundle_count
        remove(ray, group)
        return found

    return attempt(told, text=False)


@program(each={"strategy": {"strategy": "X"}, "lifetime": {"lifetime": "forever"}})
def options_refused(ray: Ray, given: Any) -> Any:
    return attempt(lambda: make(ray, [{"CPU": 1}], **given), text=False)


@program
def table(ray: Ray) -> Any:
    group = make(ray, [{"CPU": 1}, {"CPU": 2}], strategy="SPREAD", name="of the table")
    ray.get(group.ready())
    told = part(ray, "placement_group").placement_group_table(group)
    remove(ray, group)
    return [sorted(told), [told[key] for key in ("name", "bundles", "strategy", "state")]]


@program
def by_name(ray: Ray) -> Any:
    find = part(ray, "placement_group").get_placement_group
    group = make(ray, [{"CPU": 1}], name="by its name")
    same = find("by its name").id == group.id
    remove(ray, group)
    return [same, *(attempt(lambda n=n: find(n), text=False) for n in ("", "no such"))]


@program
def removed(ray: Ray) -> Any:
    group = make(ray, [{"CPU": 1}])
    ray.get(group.ready())
    for _ in range(2):
        remove(ray, group)
    read = part(ray, "placement_group").placement_group_table
    deadline = time.monotonic() + 30
    while read(group)["state"] != "REMOVED" and time.monotonic() < deadline:
        time.sleep(0.05)
    return read(group)["state"]


@program
def nonsense(ray: Ray) -> Any:
    module = part(ray, "placement_group")
    calls = (lambda: module.remove_placement_group(3), lambda: module.placement_group_table(3))
    return [module.get_current_placement_group(), *(attempt(call, text=False) for call in calls)]


USES: dict[str, Any] = {
    "any": (-1, {}),
    "first": (0, {}),
    "no such bundle": (5, {}),
    "below": (-2, {}),
    "too much for all": (-1, {"num_cpus": 3}),
    "what it has not": (-1, {"resources": {"nonsense": 1}}),
}


@program(each=USES)
def use(ray: Ray, index_and_options: Any) -> Any:
    index, options = index_and_options
    group = make(ray, [{"CPU": 1}, {"CPU": 2}])
    strategy = part(ray, "scheduling_strategies").PlacementGroupSchedulingStrategy

    @ray.remote
    def inside() -> bool:
        return ray.get_runtime_context().get_placement_group_id() is not None

    task = inside.options(scheduling_strategy=strategy(group, index), **options)
    outcome = attempt(lambda: ray.get(task.remote(), timeout=60), text=False)
    remove(ray, group)
    return [outcome, ray.get(inside.remote())]
