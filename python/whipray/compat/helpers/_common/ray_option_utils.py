"""Which options tasks and actors take."""

from __future__ import annotations

from typing import Any

from whipray._private import options

task_options = dict(options.TASK)
actor_options = dict(options.ACTOR)
valid_options = sorted({*task_options, *actor_options})


def validate_task_options(given: dict[str, Any], in_options: bool) -> None:
    """Refuse wrong options of a task."""
    options.check_task(given, in_options)


def validate_actor_options(given: dict[str, Any], in_options: bool) -> None:
    """Refuse wrong options of an actor."""
    options.check_actor(given, in_options)


def update_options(original: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`original` with `new` over it."""
    return options.merge(original, new)
