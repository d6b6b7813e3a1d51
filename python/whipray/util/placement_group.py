"""Placement groups: resources reserved together, in bundles, for tasks and actors to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whipray import _core
from whipray._private import options, shapes, worker
from whipray._private.ids import PlacementGroupID, node_id_of

__all__ = [
    "PlacementGroup",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
NODE_ID_LABEL = "ray.io/node-id"
PENDING, TAKING, CREATED, REMOVED = 2, 3, 4, 6
"""Phases as of `_core.group_wait`."""
_DETACHED, _INFEASIBLE = 8, 16
"""Flags of `_core.group_create`."""
_EXAMPLE = 'For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`.'
_NAMES = "\x01groups\x01"
"""Before a namespace, in the table of names."""


class PlacementGroup:
    """A handle to a placement group; can be passed to tasks and actors."""

    @staticmethod
    def empty() -> PlacementGroup:
        """The handle that means "in no group"."""
        return PlacementGroup(PlacementGroupID.nil())

    def __init__(
        self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None
    ) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self) -> bool:
        """True for `empty()`."""
        return self.id.is_nil()

    def ready(self) -> _core.ObjectRef[Any]:
        """A reference that gets this handle for a value once the group is created.

        If the group is removed before, `get` of it raises TaskPlacementGroupRemoved.
        """
        worker.ensure_attached()
        if self.is_empty:
            return _core.put(self)
        return _core.group_ready(self.id.binary(), self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until the group is created, at most this long; True: it is.

        Raises an Exception when the group has been removed, or is while it is waited for.
        """
        worker.ensure_attached()
        phase = _core.group_wait(self.id.binary(), timeout_seconds)
        if phase == REMOVED:
            raise Exception(f"Placement group {self.id} does not exist.")
        return phase == CREATED

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The resources of each bundle."""
        if not self.bundle_cache:
            worker.ensure_attached()
            row = _core.group(self.id.binary())
            self.bundle_cache = [] if row is None else _bundles(row)
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """Number of bundles."""
        return len(self.bundle_specs)

    def __repr__(self) -> str:
        bundles = "" if self.bundle_cache is None else f", bundles={self.bundle_cache}"
        return f"PlacementGroup({self.id.hex()}{bundles})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Reserve resources: all bundles at once, as soon as they are free.

    Returns a handle without waiting for that; see `PlacementGroup.ready` and `wait`.  The group
    ends with its job unless lifetime="detached".  ValueError for bundles without resources, an
    unknown strategy or lifetime, selectors that do not fit the bundles.
    """
    worker.ensure_attached()
    validate_placement_group(
        bundles,
        strategy,
        lifetime,
        _soft_target_node_id,
        bundle_label_selector,
        topology_strategy,
    )
    strategy = _node_strategy(strategy, topology_strategy)
    if not isinstance(name, str):
        raise TypeError(f"the name of a placement group is a string, not {name!r}")
    bundles = [{key: float(value) for key, value in bundle.items()} for bundle in bundles]
    flags = _DETACHED if lifetime == "detached" else 0
    if strategy == "STRICT_SPREAD" and len(bundles) > 1:
        flags |= _INFEASIBLE
    if not _match(bundle_label_selector) or not _topology_exists(topology_strategy):
        flags |= _INFEASIBLE
    raw = _core.group_create(bundles, flags, STRATEGIES.index(strategy), name)
    try:
        group = PlacementGroup(PlacementGroupID(raw), bundles)
        if name:
            _claim_name(group, name)
        if _core.group_wait(raw, 0) == PENDING:
            _say_if_hopeless(raw, bundles, strategy)
    except BaseException:
        _core.group_remove(raw)  # nobody else could
        raise
    return group


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> None:
    """ValueError for arguments that `placement_group` would refuse."""
    strategy = _node_strategy(strategy, topology_strategy)
    _check_bundles(bundles)
    _check_target(_soft_target_node_id, strategy)
    _check_selectors(bundles, bundle_label_selector)
    if lifetime not in (None, "detached"):
        raise ValueError(
            "Placement group `lifetime` argument must be either `None` or 'detached'. Got "
            f"{lifetime}."
        )


def _say_if_hopeless(raw: bytes, bundles: list[dict[str, float]], strategy: str) -> None:
    row = _core.group(raw)
    if row is None or not row[2] & _INFEASIBLE:
        return
    sums: dict[str, float] = {}
    for bundle in bundles:
        for resource, amount in bundle.items():
            sums[resource] = sums.get(resource, 0.0) + amount
    missing, there = shapes.beyond(sums)
    if missing:
        shapes.say_hopeless("A placement group", missing, f"this session has only {there}")
    elif strategy == "STRICT_SPREAD" and len(bundles) > 1:
        shapes.say_hopeless("A placement group", f"{len(bundles)} nodes", "this session has one")
    else:
        what = "nodes with other labels"
        shapes.say_hopeless("A placement group", what, "this session's only node is not so")


def _claim_name(group: PlacementGroup, name: str) -> None:
    from whipray.exceptions import RaySystemError

    raw = group.id.binary()
    if not _core.group_claim_name(raw, name, _NAMES + worker.state.namespace):
        raise RaySystemError(
            f"Failed to create placement group '{group.id.hex()}' because name '{name}' already "
            "exists."
        )


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the resources back; tasks and actors in the group end.  Does not wait for that."""
    assert placement_group is not None
    worker.ensure_attached()
    _core.group_remove(placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of that name in this namespace; ValueError if there is none."""
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group")
    worker.ensure_attached()
    raw = _core.group_of_name(placement_group_name, _NAMES + worker.state.namespace)
    if raw is None:
        raise ValueError(f"Failed to look up placement group with name: {placement_group_name}")
    return PlacementGroup(PlacementGroupID(raw))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """Facts about one group, or about all of them by id; also about groups removed lately."""
    worker.ensure_attached()
    if placement_group is None:
        return {row[0].hex(): _facts(row) for row in _core.groups()}
    row = _core.group(placement_group.id.binary())
    return {} if row is None else _facts(row)


def placement_group_facts() -> Iterator[dict[str, Any]]:
    """As `placement_group_table()`, with `job` and `is_detached`."""
    for row in _core.groups():
        yield {**_facts(row), "job": row[4], "is_detached": bool(row[2] & _DETACHED)}


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the running task or actor is in; None in drivers and outside of groups."""
    worker.ensure_attached()
    raw, _ = worker.state.group
    return None if raw is None else PlacementGroup(PlacementGroupID(raw))


# What Ray tells of how long and how often it has tried; here a group is placed in one step.
_NO_TIMES = {
    "end_to_end_creation_latency_ms": 0.0,
    "scheduling_latency_ms": 0.0,
    "scheduling_attempt": 1,
    "highest_retry_delay_ms": 0.0,
}


def _facts(row: Any) -> dict[str, Any]:
    raw, phase, flags, strategy, _, name, _ = row
    state = {CREATED: "CREATED", REMOVED: "REMOVED"}.get(phase, "PENDING")
    node = node_id_of(str(_core.info()["session"])).hex() if phase == CREATED else ""
    scheduling = {"CREATED": "FINISHED", "PENDING": "PENDING"}.get(state, "REMOVED")
    bundles = dict(enumerate(_bundles(row)))
    return {
        "placement_group_id": raw.hex(),
        "name": name,
        "bundles": bundles,
        "bundles_to_node_id": dict.fromkeys(bundles, node),
        "strategy": STRATEGIES[strategy],
        "state": state,
        "stats": {
            **_NO_TIMES,
            "scheduling_state": "INFEASIBLE"
            if state == "PENDING" and flags & _INFEASIBLE
            else scheduling,
        },
    }


def _bundles(row: Any) -> list[dict[str, float]]:
    return [{name: has for name, (has, _) in bundle.items()} for bundle in row[6]]


def resource_rows() -> Iterator[tuple[str, float, float]]:
    """(name, total, available) of the resources that groups which stand have, by their names."""
    for row in _core.groups(True):
        if row[1] != CREATED:  # or its removal has begun
            continue
        group = row[0].hex()
        sums: dict[str, list[float]] = {}
        for at, bundle in enumerate(row[6]):
            for name, (has, free) in {**bundle, "bundle": (1000.0, 1000.0)}.items():
                yield f"{name}_group_{at}_{group}", has, free
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += has
                total[1] += free
        for name, (has, free) in sums.items():
            yield f"{name}_group_{group}", has, free


# ---- checks --------------------------------------------------------------------------------------


def _node_strategy(strategy: str | None, topology: dict[str, str] | None) -> str:
    if topology is not None and strategy is not None:
        raise ValueError(
            "`strategy` and `topology_strategy` cannot both be specified. Pass node-level packing "
            f"via `topology_strategy['{NODE_ID_LABEL}']`."
        )
    if strategy is not None and strategy not in STRATEGIES:
        raise ValueError(
            f"Invalid placement group strategy {strategy}. Supported strategies are: "
            f"{set(STRATEGIES)}."
        )
    if topology is None:
        return strategy or "PACK"
    _check_topology(topology)
    return topology.get(NODE_ID_LABEL, "PACK")


def _check_topology(topology: Any) -> None:
    if not isinstance(topology, dict):
        raise ValueError(f"`topology_strategy` must be a dict, got {type(topology).__name__}.")
    labels = [key for key in topology if key != NODE_ID_LABEL]
    if len(labels) > 1:
        raise ValueError(
            "`topology_strategy` must contain 0, 1, or 2 entries: one topology label besides "
            f"`{NODE_ID_LABEL}`. Got {labels}."
        )
    for key, value in topology.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"`topology_strategy` keys must be non-empty strings, got {key!r}.")
        if value not in STRATEGIES:
            raise ValueError(
                f"Invalid topology strategy {value!r} for label {key!r}. Supported strategies "
                f"are: {set(STRATEGIES)}."
            )
        if key != NODE_ID_LABEL and value != "STRICT_PACK":
            raise ValueError(
                f"Topology strategy {value!r} for label {key!r} is not supported yet; only "
                "'STRICT_PACK' is."
            )


def _topology_exists(topology: dict[str, str] | None) -> bool:
    """One node packs everything, if it has the label at all."""
    if topology is None:
        return True
    from whipray._private import labels

    return all(key in labels.of_node() for key in topology)


def _check_bundles(bundles: Any) -> None:
    if not isinstance(bundles, list):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    if not bundles:
        raise ValueError(
            f"Bundles must be a non-empty list of resource dictionaries. {_EXAMPLE} Got empty list "
            "instead."
        )
    for bundle in bundles:
        if (
            not isinstance(bundle, dict)
            or not all(isinstance(key, str) for key in bundle)
            or not all(isinstance(value, int | float) for value in bundle.values())
        ):
            raise ValueError(
                f"Bundles must be a non-empty list of resource dictionaries. {_EXAMPLE}"
            )
        if not any(bundle.values()):
            raise ValueError(
                "Bundles cannot be an empty dictionary or resources with only 0 values. Bundles: "
                f"{bundles}"
            )
        for name, amount in bundle.items():
            options.resource_name(name)
            if not 0 <= amount < float("inf"):
                raise ValueError(
                    f"The quantity of resource {name!r} of a bundle can not be {amount}"
                )


def _check_target(node_id: str | None, strategy: str) -> None:
    if not node_id:
        return
    from whipray._private.ids import NodeID

    if strategy != "STRICT_PACK":
        raise ValueError(
            f"_soft_target_node_id currently only works with STRICT_PACK but got {strategy}"
        )
    if NodeID.from_hex(node_id).is_nil():
        raise ValueError(f"Invalid hex ID of _soft_target_node_id, got {node_id}")


def _check_selectors(bundles: list[Any], selectors: Any) -> None:
    if selectors is None:
        return
    if not isinstance(selectors, list) or len(bundles) != len(selectors):
        raise ValueError(
            f"Invalid bundle label selector {selectors}. The length of `bundle_label_selector` "
            "should equal the length of `bundles`."
        )
    from whipray._private import labels

    for selector in selectors:
        if not isinstance(selector, dict):
            raise ValueError(
                "Bundle label selector must be a list of string dictionary label selectors."
            )
        wrong = labels.wrong_selector(selector)
        if wrong:
            raise ValueError(
                "Invalid label selector provided in bundle_label_selector list. Detailed error: "
                f"'{wrong}'"
            )


def _match(selectors: list[dict[str, str]] | None) -> bool:
    if not any(selectors or ()):
        return True
    from whipray._private import labels

    return all(labels.matches(selector) for selector in selectors or ())
