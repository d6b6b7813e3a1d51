"""What filters and limits may be, what they mean, and what is said of wrong ones.

Those that no program could mean are ValueErrors; those that Ray's server refuses are
RayStateApiExceptions here as well.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from whipray.util.state import common
from whipray.util.state.common import StateSchema
from whipray.util.state.exception import RayStateApiException

Row = dict[str, Any]
Match = Callable[[Row], bool]

_TRUTH = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
_ID_BYTES: dict[tuple[type[StateSchema], str], int] = {
    (common.ActorState, "actor_id"): 16,
    (common.ActorState, "job_id"): 4,
    (common.TaskState, "task_id"): 24,
    (common.TaskState, "actor_id"): 16,
    (common.TaskState, "job_id"): 4,
    (common.NodeState, "node_id"): 28,
}
"""Columns that Ray looks for by an id, which has to be one, and its length."""
_ACTOR_STATES = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "ALIVE", "RESTARTING", "DEAD")


# ---- limits --------------------------------------------------------------------------------------


def checked_limit(limit: Any) -> int:
    """The number of rows that may be listed at most."""
    try:
        number = int(limit)
        whole = not isinstance(limit, float) or number == limit
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"limit: Input should be a valid integer, not {limit!r}")
    if number < 0:
        raise RayStateApiException(f"limit: {number} rows are none: it must not be negative.")
    most = int(
        os.environ.get("RAY_MAX_LIMIT_FROM_API_SERVER", common.RAY_MAX_LIMIT_FROM_API_SERVER)
    )
    if number > most:
        raise RayStateApiException(
            f"Given limit {number} exceeds the supported limit {most}. Use a lower limit, or set "
            "the `RAY_MAX_LIMIT_FROM_API_SERVER` environment variable to a larger value."
        )
    return number


# ---- filters -------------------------------------------------------------------------------------


def checked(kind: type[StateSchema], filters: Any) -> list[Match]:
    """A test of rows for each filter."""
    if isinstance(filters, str):
        raise ValueError(f"filters: Input should be a valid list, not {filters!r}")
    types = {f.name: f.type for f in fields(kind)}
    return [_match(kind, types, *_parts(one)) for one in filters or ()]


def _parts(one: Any) -> tuple[str, bool, Any]:
    """(column, whether it must be equal, value)."""
    if not isinstance(one, tuple | list) or len(one) != 3:
        raise ValueError(f"a filter is (column, '=' or '!=', value), not {one!r}")
    column, predicate, value = one
    common.check_predicate(predicate)
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"the value of a filter is a text or a number, not {value!r}")
    return str(column).lower(), predicate == "=", value


def _match(
    kind: type[StateSchema], types: dict[str, Any], column: str, equal: bool, value: Any
) -> Match:
    known = kind.filterable_columns()
    if column not in known:
        raise RayStateApiException(
            f"The given filter column {column} is not supported. Enter filters with --filter "
            f"key=value or --filter key!=value Supported filter columns: {sorted(known)}"
        )
    if isinstance(value, str):
        value = _converted(column, str(types[column]), value)
        if equal:
            _check_meaning(kind, column, value)

    def match(row: Row) -> bool:
        return _same(row.get(column), value) == equal

    return match


def _converted(column: str, type_name: str, value: str) -> Any:
    """The text as what the column has: number or truth value."""
    if type_name.startswith("int"):
        try:
            return int(value)
        except ValueError:
            raise RayStateApiException(
                f"Invalid filter `--filter {column} {value}` for a int type column. Please provide "
                f"an integer filter `--filter {column} [int]`"
            ) from None
    if type_name.startswith("bool"):
        if value not in _TRUTH:
            raise RayStateApiException(
                f"Invalid filter `--filter {column} {value}` for a boolean type column. Please "
                f"provide `--filter {column} [True|true|1]` for True or "
                f"`--filter {column} [False|false|0]` for False."
            )
        return _TRUTH[value]
    return value


def _check_meaning(kind: type[StateSchema], column: str, value: Any) -> None:
    if kind is common.ActorState and column == "state" and value.upper() not in _ACTOR_STATES:
        raise RayStateApiException(f"Invalid actor state for filtering: {value.upper()}")
    wanted = _ID_BYTES.get((kind, column))
    if wanted is None:
        return
    try:
        found = len(binascii.unhexlify(value))
    except ValueError as error:
        raise RayStateApiException(f"{column} {value!r}: {error}") from None
    if found != wanted:
        raise RayStateApiException(f"ID string needs to have length {wanted}, got {found}")


def _same(value: Any, wanted: Any) -> bool:
    """Text matches in any case."""
    if isinstance(wanted, str):
        return value is not None and str(value).lower() == wanted.lower()
    return bool(value == wanted)
