"""Options of tasks, actors and methods: what is allowed, what it defaults to, what it means.

`check_task` and `check_actor` refuse a wrong option where it is written: ValueError for an unknown
name or a value out of range, TypeError for a wrong type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from whipray._private import hints, labels, strategies
from whipray._private.envs import fields as envs

GRAIN = 10_000
"""Resources are counted in units of 1/GRAIN."""
IMPLICIT_RESOURCE = "node:__internal_implicit_resource_"
"""How the names of resources begin of which every node has 1 without being told."""
DEFAULT_TASK_RETRIES = 3
STREAMING, DYNAMIC = -1, -2
"""Numbers of returns that are none, as the engine's types take them."""

Check = Callable[[str, Any], None]


# ---- checks of single values ---------------------------------------------------------------------


def _typed(*types: type) -> Check:
    """None or an instance of one of `types`."""

    def check(name: str, value: Any) -> None:
        if value is not None and not isinstance(value, types):
            raise _wrong_type(name, types, value)

    return check


def _wrong_type(name: str, types: tuple[type, ...], value: Any) -> TypeError:
    wanted = " or ".join(kind.__name__ for kind in types)
    return TypeError(
        f"The type of keyword '{name}' must be {wanted}, but received type {type(value)}"
    )


def _strictly(kind: type) -> Check:
    """An instance of `kind`, not None."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise _wrong_type(name, (kind,), value)

    return check


def _count(infinite: bool) -> Check:
    """None or an integer >= 0; -1 too where it means endless."""

    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, int):
            raise _wrong_type(name, (int,), value)
        if value < (-1 if infinite else 0):
            more = ", -1" if infinite else ""
            tail = ", where -1 represents infinity" if infinite else ""
            raise ValueError(
                f"The keyword '{name}' only accepts None, 0{more} or a positive integer{tail}."
            )

    return check


def without_null(what: str, text: Any) -> str:
    """The text; ValueError if the engine, which is C, would read it as a shorter one."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is a string, not {text!r}")
    if "\0" in text:
        raise ValueError(f"{what} must not contain null characters, as {text!r}")
    return text


LONGEST_RESOURCE = 111
"""Bytes of its name, in UTF-8."""


@functools.lru_cache(1024)
def resource_name(name: Any) -> str:
    """What a resource of the program's own may be called. Programs have few and use them often."""
    if not isinstance(name, str):
        raise TypeError(f"names of resources are strings, not {name!r}")
    if not name:
        raise ValueError("the name of a resource is empty")
    without_null("the name of a resource", name)
    if len(name.encode("utf-8", "replace")) > LONGEST_RESOURCE:
        raise ValueError(
            f"the name of a resource may have {LONGEST_RESOURCE} bytes at most: {name!r}"
        )
    return name


def check_amount(name: str, value: Any) -> None:
    """None or an amount of a resource: a number >= 0, not finer than 1/GRAIN."""
    if value is None:
        return
    if not isinstance(value, int | float):
        raise _wrong_type(name, (float, int), value)
    if value < 0:
        raise ValueError(f"The quantity of resource {name} cannot be negative")
    if not value < float("inf"):  # nor NaN
        raise ValueError(f"The quantity of resource {name} must be finite")
    if value != 0 and int(value * GRAIN) == 0:
        raise ValueError(
            f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001"
        )
    if name in ("num_gpus", "GPU") and value > 1 and value != int(value):
        raise ValueError(
            f"{name} values >1 must be whole numbers; {value!r} is not. Fractions are for sharing "
            "one GPU."
        )


def _resources(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _wrong_type(name, (dict,), value)
    if "CPU" in value or "GPU" in value:
        raise ValueError(
            "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in 'resources' "
            "keyword"
        )
    for key, amount in value.items():
        resource_name(key)
        if amount is None:
            raise TypeError(f"the quantity of resource {key} is None")
        check_amount(key, amount)


def _num_returns(name: str, value: Any) -> None:
    if value is None or value in ("dynamic", "streaming"):
        return
    if not isinstance(value, int | str):
        raise _wrong_type(name, (int, str), value)
    if isinstance(value, str) or value < 0:
        raise ValueError(
            f"The keyword '{name}' only accepts None, a non-negative integer, 'streaming' (for "
            f"generators) or 'dynamic', not {value!r}."
        )


def _retry_exceptions(name: str, value: Any) -> None:
    if isinstance(value, bool):
        return
    if not isinstance(value, list | tuple):
        raise _wrong_type(name, (bool, list, tuple), value)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in value):
        raise ValueError(f"{name} must be either a boolean or a list of exceptions, not {value!r}")


def _lifetime(name: str, value: Any) -> None:
    _typed(str)(name, value)
    if value not in (None, "detached", "non_detached"):
        raise ValueError(
            f"actor `{name}` argument must be one of 'detached', 'non_detached' and 'None', "
            f"not {value!r}."
        )


def _no_task_store(name: str, value: Any) -> None:
    _typed(int)(name, value)
    if value is not None:
        raise ValueError(f"Setting '{name}' is not implemented for tasks")


def _positive(name: str, value: Any) -> None:
    _typed(int)(name, value)
    if value is not None and value <= 0:
        raise ValueError(f"{name} must be a positive integer, not {value}")


def _backpressure(name: str, value: Any) -> None:
    _typed(int)(name, value)
    if value == 0:
        raise ValueError(
            f"{name}=0 is not allowed. Use a value > 0; with 1 an item is made whenever `next` is "
            "called, as by a generator of Python. -1 switches it off."
        )


def _actor_backpressure(name: str, value: Any) -> None:
    _typed(int)(name, value)
    if value is not None and value <= 0 and value != -1:
        raise ValueError(
            f"{name} must be > 0 to cap the actor's total unconsumed generator objects, or -1 to "
            f"disable. Got {value}."
        )


def _runtime_env(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, dict):
        raise _wrong_type(name, (dict,), value)
    envs.checked(value)


# ---- the tables ----------------------------------------------------------------------------------

_COMMON: dict[str, Check] = {
    "label_selector": labels.check_selector,
    "fallback_strategy": labels.check_fallback,
    "accelerator_type": _typed(str),
    "memory": check_amount,
    "name": _typed(str),
    "num_cpus": check_amount,
    "num_gpus": check_amount,
    "object_store_memory": _count(False),
    "placement_group": strategies.check_group,
    "placement_group_bundle_index": _strictly(int),
    "placement_group_capture_child_tasks": _typed(bool),
    "resources": _resources,
    "runtime_env": _runtime_env,
    "scheduling_strategy": strategies.check_strategy,
    "enable_task_events": _strictly(bool),
    "_labels": _typed(dict),
}
TASK: dict[str, Check] = {
    **_COMMON,
    "max_calls": _count(False),
    "max_retries": _count(True),
    "num_returns": _num_returns,
    "object_store_memory": _no_task_store,
    "retry_exceptions": _retry_exceptions,
    "_generator_backpressure_num_objects": _backpressure,
    "_num_objects_per_yield": _positive,
}
ACTOR: dict[str, Check] = {
    **_COMMON,
    "concurrency_groups": _typed(list, dict),
    "enable_tensor_transport": _typed(bool),
    "lifetime": _lifetime,
    "max_concurrency": _count(False),
    "max_restarts": _count(True),
    "max_task_retries": _count(True),
    "max_pending_calls": _count(True),
    "namespace": _typed(str),
    "get_if_exists": _strictly(bool),
    "allow_out_of_order_execution": _typed(bool),
    "_actor_generator_backpressure_num_objects": _actor_backpressure,
}
METHOD: dict[str, Check] = {
    "num_returns": _num_returns,
    "name": _typed(str),
    "concurrency_group": _typed(str),
    "max_task_retries": _count(True),
    "retry_exceptions": _retry_exceptions,
    "enable_task_events": _strictly(bool),
    "tensor_transport": _typed(str),
    "_labels": _typed(dict),
    "_generator_backpressure_num_objects": _backpressure,
    "_num_objects_per_yield": _positive,
}


def _check(options: dict[str, Any], table: dict[str, Check], what: str) -> None:
    for name, value in options.items():
        check = table.get(name)
        if check is None:
            raise ValueError(
                f"Invalid option keyword {name} for {what}. Valid ones are {list(table)}."
                f"{_hint(name, table)}"
            )
        check(name, value)


def _hint(name: str, table: dict[str, Check]) -> str:
    """What whoever wrote this unknown option may have had in mind."""
    places = {"remote functions": TASK, "actors": ACTOR, "actor methods": METHOD}
    found = " and ".join(place for place, options in places.items() if name in options)
    return f" {name} is an option of {found}." if found else hints.meant(name, table)


def returns(num_returns: Any, yields: bool) -> int:
    """The number of returns as the engine's types take it; without one it follows the function."""
    if num_returns is None:
        return STREAMING if yields else 1
    if isinstance(num_returns, int):
        return num_returns
    return STREAMING if num_returns == "streaming" else DYNAMIC


def written_returns(nreturns: int) -> int | str:
    """The number of returns as a program writes it."""
    return {STREAMING: "streaming", DYNAMIC: "dynamic"}.get(nreturns, nreturns)


def check_returns(options: dict[str, Any], yields: bool) -> None:
    """Refuse to stream what a function does not yield."""
    num_returns = options.get("num_returns")
    if num_returns not in ("streaming", "dynamic"):
        return
    if num_returns == "dynamic":
        from whipray._private import generators

        generators.warn_of_dynamic()
    if not yields:
        raise ValueError(
            f"num_returns='{num_returns}' can only be used with generator functions (functions "
            "that use 'yield'). The decorated function is not a generator function."
        )


def room(value: int | None) -> int:
    """Items that may be yielded and not read, 0 for any number."""
    return max(0, value or 0)


def check_per_yield(given: dict[str, Any], declared: dict[str, Any]) -> None:
    """Refuse options of a call that change how many objects one `yield` of a task gives."""
    asked = given.get("_num_objects_per_yield")
    if asked is not None and asked != (declared.get("_num_objects_per_yield") or 1):
        raise ValueError(
            "_num_objects_per_yield cannot be overridden per task call. Use "
            "@remote(_num_objects_per_yield=...) instead."
        )


def check_task(options: dict[str, Any], in_options: bool) -> None:
    """Refuse wrong options of a task; `in_options`: they were given to .options()."""
    _check(options, TASK, "remote functions")
    if in_options and "max_calls" in options:
        raise ValueError("Setting 'max_calls' is not supported in '.options()'.")
    strategies.check_together(options)


def check_actor(options: dict[str, Any], in_options: bool) -> None:
    """Refuse wrong options of an actor class; `in_options`: they were given to .options()."""
    _check(options, ACTOR, "actors")
    if in_options and "concurrency_groups" in options:
        raise ValueError("Setting 'concurrency_groups' is not supported in '.options()'.")
    if options.get("name") == "":
        raise ValueError("Actor name cannot be an empty string.")
    if options.get("namespace") == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    groups_of(options.get("concurrency_groups"))
    strategies.check_together(options)


def check_actor_call(options: dict[str, Any]) -> None:
    """What can only be judged once all options of an actor are known."""
    if options.get("get_if_exists") and not options.get("name"):
        raise ValueError("The actor name must be specified to use `get_if_exists`.")


def check_method(options: dict[str, Any]) -> None:
    """Refuse wrong options of a call or of @method."""
    _check(options, METHOD, "actor methods")


def groups_of(value: list[dict[str, Any]] | dict[str, int] | None) -> dict[str, int]:
    """Concurrency groups as name -> limit, from either form."""
    if not value:
        return {}
    if isinstance(value, list):
        value = {item["name"]: item["max_concurrency"] for item in value}
    for name, limit in value.items():
        if not isinstance(name, str) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"concurrency_groups: {name!r}: {limit!r} is not a name with a limit")
    return dict(value)


def groups_of_actor(options: dict[str, Any]) -> dict[str, int]:
    """Its concurrency groups; one that passes tensors has those in which libraries ask about them,
    whatever its methods do."""
    groups = groups_of(options.get("concurrency_groups"))
    if options.get("enable_tensor_transport"):
        groups |= {"_ray_system": 1, "_ray_system_error": 1}
    return groups


# ---- what options mean ---------------------------------------------------------------------------


def wanted(options: dict[str, Any], default_cpus: float) -> dict[str, float]:
    """The resources that a task or actor claims; nothing is listed with 0."""
    found = {name: float(amount) for name, amount in (options.get("resources") or {}).items()}
    cpus = options.get("num_cpus")
    found["CPU"] = float(default_cpus if cpus is None else cpus)
    found["GPU"] = float(options.get("num_gpus") or 0)
    found["memory"] = float(options.get("memory") or 0)
    kind = options.get("accelerator_type")
    if kind:
        found[f"accelerator_type:{kind}"] = 0.001
    return {name: amount for name, amount in found.items() if amount > 0}


def actor_shapes(options: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """(resources to place an actor, resources it holds while it lives).

    Without any wish it needs a CPU to start and none to live. One that wishes for memory or an
    accelerator alone holds that, and needs no CPU to start: the engine gives back all or nothing.
    """
    explicit = any(options.get(name) is not None for name in ("num_cpus", "num_gpus", "resources"))
    held = wanted(options, 0)
    return (held if explicit or held else {"CPU": 1.0}), held


def shown(options: dict[str, Any]) -> str:
    """Options as they are written in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def merge(base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`base` with `new` over it; a runtime environment takes the place of the other."""
    return {**base, **new}


def merge_task(base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The same for tasks, where an environment that says nothing leaves the other."""
    merged = merge(base, new)
    if "runtime_env" in base and not any((new.get("runtime_env") or {}).values()):
        merged["runtime_env"] = base["runtime_env"]
    return merged
