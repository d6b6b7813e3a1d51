"""Where work should run: values for the option `scheduling_strategy` of tasks and actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from whipray.util.placement_group import PlacementGroup

__all__ = [
    "DoesNotExist",
    "Exists",
    "In",
    "NodeAffinitySchedulingStrategy",
    "NodeLabelSchedulingStrategy",
    "NotIn",
    "PlacementGroupSchedulingStrategy",
    "SchedulingStrategyT",
]


class PlacementGroupSchedulingStrategy:
    """In a placement group: in one of its bundles, by number, or in any (-1).

    `placement_group_capture_child_tasks` says whether what the task or actor submits goes into the
    group as well; None: as for the submitter itself.  `placement_group=None` means in no group.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """On the node with this id (hex); with `soft` on another one where that does not exist."""

    def __init__(
        self,
        node_id: str | Any,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        self.node_id: str = node_id if isinstance(node_id, str) else node_id.hex()
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable
        self._check()

    def _check(self) -> None:
        from whipray._private.ids import NodeID

        wrong = ValueError(
            f"Invalid node_id '{self.node_id}'. Node ID must be a valid hex string of "
            f"{2 * NodeID.SIZE} digits, as nodes() lists them under 'NodeID'."
        )
        try:
            found = NodeID.from_hex(self.node_id)
        except (TypeError, ValueError) as error:
            raise wrong from error
        if found.is_nil():
            raise wrong
        if self._spill_on_unavailable and not self.soft:
            raise ValueError("_spill_on_unavailable cannot be set when soft is False.")
        if self._fail_on_unavailable and self.soft:
            raise ValueError("_fail_on_unavailable cannot be set when soft is True.")


class _Values:
    def __init__(self, *values: str) -> None:
        name = type(self).__name__
        if not values:
            raise ValueError(
                f"The variadic parameter of the {name} operator must be a non-empty tuple: e.g. "
                f'{name}("value1", "value2").'
            )
        for at, value in enumerate(values):
            if not isinstance(value, str):
                raise ValueError(
                    f"Type of value in position {at} for the {name} operator must be str (e.g. "
                    f'{name}("value1", "value2")) but got {value} of type {type(value)}.'
                )
        self.values = list(values)


class In(_Values):
    """The label is there and has one of these values."""


class NotIn(_Values):
    """The label is not there, or has none of these values."""


class Exists:
    """The label is there."""


class DoesNotExist:
    """The label is not there."""


Operator = Union[In, NotIn, Exists, DoesNotExist]  # noqa: UP007 - evaluated at import


class _LabelMatchExpression:
    """One label and what is asked of it."""

    def __init__(self, key: str, operator: Operator) -> None:
        self.key = key
        self.operator = operator


class NodeLabelSchedulingStrategy:
    """On a node whose labels are as `hard` asks; preferably also as `soft` asks.

    Both map names of labels to In(...), NotIn(...), Exists() or DoesNotExist().
    """

    def __init__(
        self, hard: dict[str, Operator] | None, *, soft: dict[str, Operator] | None = None
    ) -> None:
        self.hard = _expressions(hard, "hard")
        self.soft = _expressions(soft, "soft")
        if not (self.hard or self.soft):
            raise ValueError(
                "The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be "
                "empty."
            )


def _expressions(given: Any, name: str) -> list[_LabelMatchExpression]:
    if given is None:
        return []
    if not isinstance(given, dict):
        raise ValueError(
            f'The {name} parameter must be a map (e.g. {{"key1": In("value1")}}) but got type '
            f"{type(given)}."
        )
    for key, operator in given.items():
        if not isinstance(key, str):
            raise ValueError(
                f"The map key of the {name} parameter must be of type str (e.g. "
                f'{{"key1": In("value1")}}) but got {key} of type {type(key)}.'
            )
        if not isinstance(operator, In | NotIn | Exists | DoesNotExist):
            raise ValueError(
                f"The map value for key {key} of the {name} parameter must be one of the `In`, "
                f"`NotIn`, `Exists` or `DoesNotExist` operator (e.g. "
                f'{{"key1": In("value1")}}) but got {operator} of type {type(operator)}.'
            )
    return [_LabelMatchExpression(key, operator) for key, operator in given.items()]


SchedulingStrategyT = Union[  # noqa: UP007 - evaluated at import
    None,
    str,
    PlacementGroupSchedulingStrategy,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
]

LabelMatchExpressionsT = dict[
    str,
    Union[In, NotIn, Exists, DoesNotExist],  # noqa: UP007 - evaluated at import
]
