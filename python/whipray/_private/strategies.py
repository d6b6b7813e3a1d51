"""Checks of the options that say where work should run."""

from __future__ import annotations

from typing import Any

NAMES = ("DEFAULT", "SPREAD")


def check_strategy(name: str, value: Any) -> None:
    """None, "DEFAULT" or "SPREAD"; on one machine both mean the same."""
    if value is None or value in NAMES:
        return
    if isinstance(value, str):
        raise ValueError(f"Invalid {name} {value!r}; valid ones are {list(NAMES)}.")
    if type(value).__name__.endswith("SchedulingStrategy"):
        raise NotImplementedError(f"{name}: {type(value).__name__} is not supported yet.")
    raise TypeError(
        f"The type of keyword '{name}' must be str or a scheduling strategy, "
        f"but received type {type(value)}"
    )


def check_group(name: str, value: Any) -> None:
    """None or "default"; placement groups do not exist yet."""
    if value is None or value == "default":
        return
    if isinstance(value, str):
        raise ValueError(f"{name}: {value!r} is not a placement group.")
    raise NotImplementedError(f"{name}: placement groups are not supported yet.")


def check_together(options: dict[str, Any]) -> None:
    """A group and a strategy exclude each other."""
    group = options.get("placement_group")
    if group not in (None, "default") and options.get("scheduling_strategy") is not None:
        raise ValueError(
            "Placement groups should be specified via the scheduling_strategy option. "
            "The placement_group option is deprecated."
        )
