"""Handing a program over to a real Ray, for those who outgrow one machine.

`init("ray://host:10001")`, `init("ray:auto")`, `init("ray:host:6379")` or WHIPRAY_ADDRESS with one
of these: the names of the package `whipray` become those of the package `ray`, which must be
installed as well, and what was decorated before runs there too.  Nothing of Whipray's engine is
used then.  `shutdown()` gives the names back.

Workers of that Ray get WHIPRAY_ADDRESS=ray:inside, so that functions which refer to `whipray` find
Ray there; Whipray has to be importable on the cluster for that, not built for speed.
"""

from __future__ import annotations

import operator
import os
import sys
from types import ModuleType
from typing import Any

from whipray._private import worker

VARIABLE = "WHIPRAY_ADDRESS"
INSIDE = "ray:inside"
OWN = frozenset({"__version__", "init", "shutdown", "ObjectRef"})
"""Names that do not simply become Ray's."""
OURS_ALONE = ("preload",)
"""Arguments of init that Ray does not know."""

MOST_MADE = 1000
"""How many remote forms are kept; programs that make new options for ever make them anew."""

_taken: list[str] = []
"""Names of the package that are Ray's now."""
_before: dict[str, Any] = {}
"""What stood under these names, as far as something did."""
_made: dict[tuple[int, str], tuple[Any, Any, Any]] = {}
"""(definition, options, remote form in Ray) by id() of the one and text of the other."""


def prepare() -> None:
    """When the package is imported with WHIPRAY_ADDRESS naming a Ray: take part in it.

    A worker of that Ray is connected already.  A driver connects with its first call; those that
    the compiled module would answer by itself go through Python for it.
    """
    import whipray

    if os.environ.get(VARIABLE) == INSIDE:
        take_over(real_ray())
    else:
        vars(whipray).update(get=get, put=put)


def get(*args: Any, **given: Any) -> Any:
    """`whipray.get` of a driver that connects with its first call."""
    return _connected().get(*args, **given)


def put(*args: Any, **given: Any) -> Any:
    """`whipray.put` of a driver that connects with its first call."""
    return _connected().put(*args, **given)


def _connected() -> Any:
    worker.ensure_attached()
    return worker.state.other or sys.modules["whipray._core"]


def start(given: dict[str, Any]) -> Any:
    """`init` with an address of Ray's; `given` are the arguments of `whipray.init`."""
    import inspect

    ray = real_ray()
    known = inspect.signature(worker.init).parameters
    arguments = {
        name: value
        for name, value in given.items()
        if name in known and name != "kwargs" and value != known[name].default
    }
    arguments.update(given.get("kwargs") or {})
    arguments.pop("address", None)
    for name in OURS_ALONE:
        arguments.pop(name, None)
    asked = given.get("address") or os.environ.get(VARIABLE) or os.environ.get("RAY_ADDRESS")
    if asked != INSIDE:
        address = str(asked)
        is_client = address.startswith("ray://")
        arguments["address"] = address if is_client else address.removeprefix("ray:")
        arguments["runtime_env"] = _with_mark(arguments.get("runtime_env"))
    context = ray.init(**arguments)
    take_over(ray)
    return context


def _with_mark(runtime_env: Any) -> dict[str, Any]:
    merged = dict(runtime_env or {})
    merged["env_vars"] = {**(merged.get("env_vars") or {}), VARIABLE: INSIDE}
    return merged


def real_ray() -> ModuleType:
    """The package of the real Ray; ConnectionError where it is not to be had."""
    compat = sys.modules.get("whipray.compat")
    if compat is not None and compat.installed():
        raise ConnectionError(
            "`ray` is Whipray in this process (WHIPRAY_AS_RAY): without that switch the program "
            "runs on Ray by itself."
        )
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConnectionError(
            "an address that begins with ray: is one of a real Ray, which must be installed "
            "beside Whipray: pip install ray"
        ) from error
    return ray  # type: ignore[no-any-return]


def take_over(ray: ModuleType) -> None:
    """Let the names of `whipray` be those of `ray`."""
    import whipray

    if worker.state.other is not None:
        return
    names = {name: getattr(ray, name) for name in whipray.__all__ if _is_shared(ray, name)}
    names.update(init=init, shutdown=shutdown, ObjectRef=ray.ObjectRef)
    _taken[:] = names
    _before.update({name: vars(whipray)[name] for name in names if name in vars(whipray)})
    vars(whipray).update(names)
    worker.state.other = ray


def _is_shared(ray: ModuleType, name: str) -> bool:
    return name not in OWN and hasattr(ray, name)


def init(*args: Any, **given: Any) -> Any:
    """`whipray.init` after the hand-over."""
    return worker.init(*args, **given)


def shutdown(*args: Any, **given: Any) -> None:
    """End the connection to Ray; the names are Whipray's again."""
    import whipray

    ray, worker.state.other = worker.state.other, None
    for name in _taken:
        vars(whipray).pop(name, None)
    vars(whipray).update(_before)
    for kept in (_taken, _before, _made):
        kept.clear()
    if ray is not None:
        ray.shutdown(*args, **given)


def remote(definition: Any, options: dict[str, Any]) -> Any:
    """The function or class, decorated by Ray with these options."""
    key = id(definition), repr(options)
    found = _made.get(key)
    if found is None:
        ray = worker.state.other
        made = ray.remote(**options)(definition) if options else ray.remote(definition)
        if len(_made) >= MOST_MADE:
            _made.clear()
        found = _made[key] = definition, options, made
    return found[2]


def reduced(definition: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """For pickle: what `definition` is in Ray, so that workers need nothing of Whipray."""
    return operator.itemgetter(0), ([remote(definition, options)],)
