"""What the options that say where work should run mean.

`target_of` resolves them when work is submitted: into a placement group, into nothing (there is one
node), or into a reason why the work can not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whipray import _core
from whipray._private import hints, worker

if TYPE_CHECKING:
    from whipray.util.placement_group import PlacementGroup

NAMES = ("DEFAULT", "SPREAD")
GROUP_REMOVED, UNSCHEDULABLE = 6, 7
"""Causes of death of actors that can not run, as of `_core.actor_create`."""
_PHASE_REMOVED = 6
"""Of a group, as of `_core.group`."""
_GROUP_OPTIONS = (
    ("placement_group", "default"),
    ("placement_group_bundle_index", -1),
    ("placement_group_capture_child_tasks", None),
)
DEPRECATED = frozenset(option for option, _ in _GROUP_OPTIONS)
"""Options that warn of their use."""


class Target:
    """Where work goes.  `unmatched`: what no node is like, the work waits for one; `unschedulable`:
    why the work fails at once."""

    __slots__ = ("bundle", "capture", "group", "unmatched", "unschedulable")

    def __init__(
        self,
        group: PlacementGroup | None = None,
        bundle: int = -1,
        capture: bool = False,
        unmatched: str = "",
        unschedulable: str = "",
    ) -> None:
        self.group = group
        self.bundle = bundle
        self.capture = capture
        self.unmatched = unmatched
        self.unschedulable = unschedulable

    def numbers(self) -> tuple[int, int]:
        """(number of the group plus one, its generation); zeros: no group."""
        if self.group is None:
            return 0, 0
        raw = self.group.id.binary()
        return int.from_bytes(raw[:4], "little") + 1, int.from_bytes(raw[4:8], "little")

    def is_removed(self) -> bool:
        """Has the group been removed?"""
        return self.group is not None and is_removed(self.group.id.binary())

    def explains(self, error: Exception) -> bool:
        """Is the engine's error what befalls work whose group has just been removed?"""
        from whipray.exceptions import RaySystemError

        return isinstance(error, RaySystemError) and self.is_removed()


ANYWHERE = Target()


def is_removed(group: bytes) -> bool:
    """Has the group with this id been removed?"""
    row = _core.group(group)
    return row is None or row[1] == _PHASE_REMOVED


# ---- checks at decoration ------------------------------------------------------------------------


def check_strategy(name: str, value: Any) -> None:
    """None, "DEFAULT", "SPREAD" or one of the classes of util.scheduling_strategies."""
    if value is None or value in NAMES:
        return
    if isinstance(value, str):
        raise ValueError(f"Invalid {name} {value!r}; valid ones are {list(NAMES)}.")
    from whipray.util import scheduling_strategies as known

    if not isinstance(
        value,
        known.PlacementGroupSchedulingStrategy
        | known.NodeAffinitySchedulingStrategy
        | known.NodeLabelSchedulingStrategy,
    ):
        raise TypeError(
            f"The type of keyword '{name}' must be str or a scheduling strategy, "
            f"but received type {type(value)}"
        )


def check_group(name: str, value: Any) -> None:
    """None, "default" or a placement group."""
    if value is None or value == "default":
        return
    if isinstance(value, str):
        raise ValueError(f"{name}: {value!r} is not a placement group.")
    from whipray.util.placement_group import PlacementGroup

    if not isinstance(value, PlacementGroup):
        raise TypeError(
            f"The type of keyword '{name}' must be PlacementGroup, but received type {type(value)}"
        )


def check_together(options: dict[str, Any]) -> None:
    """A group and a strategy exclude each other."""
    group = options.get("placement_group")
    if group not in (None, "default") and options.get("scheduling_strategy") is not None:
        raise ValueError(
            "Placement groups should be specified via the scheduling_strategy option. "
            "The placement_group option is deprecated."
        )


# ---- when work is submitted ----------------------------------------------------------------------


def target_of(
    options: dict[str, Any],
    resources: dict[str, float],
    placing: dict[str, float],
    name: str,
) -> Target:
    """Where work with these options goes that holds `resources` and needs `placing` to start.

    ValueError when it does not fit into its placement group.
    """
    strategy = options.get("scheduling_strategy")
    kind = type(strategy).__name__
    if strategy is None or kind == "PlacementGroupSchedulingStrategy":
        target = _in_group(options, strategy, resources, placing, name)
    elif kind == "NodeAffinitySchedulingStrategy":
        target = _on_node(strategy)
    elif kind == "NodeLabelSchedulingStrategy":
        target = _with_labels(strategy)
    else:
        target = ANYWHERE
    selector = options.get("label_selector")
    return _selected(target, selector, options.get("fallback_strategy")) if selector else target


def _in_group(
    options: dict[str, Any],
    strategy: Any,
    resources: dict[str, float],
    placing: dict[str, float],
    name: str,
) -> Target:
    wanted, at, capture = _asked(options, strategy)
    inherited, captures = worker.state.group
    if capture is None:
        capture = captures
    if wanted == "default":
        if not capture or inherited is None:
            wanted = None
        else:
            from whipray._private.ids import PlacementGroupID
            from whipray.util.placement_group import PlacementGroup

            wanted = PlacementGroup(PlacementGroupID(inherited))
    if wanted is None or wanted.is_empty:
        if at != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
        return ANYWHERE
    target = Target(wanted, at, bool(capture))
    if wanted.bundle_specs or not target.is_removed():
        _check_fit(target, resources, placing, name)
    return target


def _asked(options: dict[str, Any], strategy: Any) -> tuple[Any, int, bool | None]:
    if strategy is not None:
        return (
            strategy.placement_group,
            strategy.placement_group_bundle_index,
            strategy.placement_group_capture_child_tasks,
        )
    for option, default in _GROUP_OPTIONS:
        if options.get(option, default) not in (default, None, False):
            hints.warn(
                f"{option} parameter is deprecated. Use "
                "scheduling_strategy=PlacementGroupSchedulingStrategy(...) instead.",
                DeprecationWarning,
            )
    return (
        options.get("placement_group", "default"),
        options.get("placement_group_bundle_index", -1),
        options.get("placement_group_capture_child_tasks"),
    )


def _check_fit(
    target: Target, resources: dict[str, float], placing: dict[str, float], name: str
) -> None:
    assert target.group is not None
    bundles, at = target.group.bundle_specs, target.bundle
    if at >= len(bundles) or at < -1:
        raise ValueError(
            f"placement group bundle index {at} is invalid. Valid placement group indexes: "
            f"0-{len(bundles) - 1}"
        )
    if not _fits(resources, bundles):
        whole = {key: int(n) if n == int(n) else n for key, n in resources.items()}
        raise ValueError(
            f"Cannot schedule {name} with the placement group because the resource request "
            f"{whole} cannot fit into any bundles for the placement group, {bundles}."
        )
    if not _fits(placing, bundles):
        raise ValueError(
            f"Cannot schedule {name} with the placement group because the actor requires "
            f"{placing.get('CPU', 0)} CPU for creation, but it cannot fit into any bundles for the "
            f"placement group, {bundles}. Consider creating a placement group with CPU resources."
        )


def _fits(wanted: dict[str, float], bundles: list[dict[str, float]]) -> bool:
    return any(
        all(bundle.get(name, 0) >= amount for name, amount in wanted.items()) for bundle in bundles
    )


def _on_node(strategy: Any) -> Target:
    from whipray._private import labels

    here = labels.of_node()[labels.NODE_ID]
    if strategy.node_id == here or strategy.soft:
        return ANYWHERE
    return Target(
        unschedulable=f"the node {strategy.node_id}, which it must run on, does not exist; the "
        f"only node of this session is {here}"
    )


def _with_labels(strategy: Any) -> Target:
    from whipray._private import labels

    if labels.fulfils(strategy.hard):
        return ANYWHERE
    shown = {e.key: f"{type(e.operator).__name__}{_values(e.operator)}" for e in strategy.hard}
    return Target(unmatched=f"labels {shown}")


def _values(operator: Any) -> str:
    return f"({', '.join(map(repr, getattr(operator, 'values', ())))})"


def _selected(target: Target, selector: dict[str, str], fallback: Any) -> Target:
    from whipray._private import labels

    tries = [selector, *(strategy["label_selector"] for strategy in fallback or ())]
    if any(labels.matches(one) for one in tries):
        return target
    unmatched = f"labels {selector}"
    return Target(target.group, target.bundle, target.capture, unmatched, target.unschedulable)
