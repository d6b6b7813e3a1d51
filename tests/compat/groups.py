"""Tools for tests of placement groups and scheduling strategies."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from .helpers import Ray


def groups_module(ray: Ray) -> ModuleType:
    """`ray.util.placement_group`, the module."""
    return import_module(f"{ray.__name__}.util.placement_group")


def strategies_module(ray: Ray) -> ModuleType:
    """`ray.util.scheduling_strategies`."""
    return import_module(f"{ray.__name__}.util.scheduling_strategies")


def in_group(ray: Ray, group: Any, bundle: int = -1, captures: bool | None = None) -> Any:
    """The value of scheduling_strategy that puts work into the group."""
    return strategies_module(ray).PlacementGroupSchedulingStrategy(group, bundle, captures)


def state_of(ray: Ray, group: Any) -> str:
    """PENDING, CREATED or REMOVED."""
    return str(ray.util.placement_group_table(group)["state"])


def all_free(ray: Ray) -> bool:
    """Is everything of the fixture `machine` free?"""
    free = ray.available_resources()
    return bool(free.get("CPU") == 4.0 and free.get("slots") == 2.0)


def remove_all_groups(ray: Ray) -> None:
    """Removes what a test has left."""
    handle = groups_module(ray).PlacementGroup
    for row in ray.util.placement_group_table().values():
        if row["state"] != "REMOVED":
            id = ray.PlacementGroupID.from_hex(row["placement_group_id"])
            ray.util.remove_placement_group(handle(id))
