"""The programs: small functions of the engine's module that return what they saw.

@program
def puts_and_gets(ray): return ray.get(ray.put(1))

@program(each={"int": 1, "text": "x"})
def survives(ray, value): return ray.get(ray.put(value))
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

Ray = ModuleType
SESSION: dict[str, Any] = {"num_cpus": 4}
"""What the session that most programs share is started with."""


@dataclass(frozen=True)
class Program:
    name: str
    run: Callable[[Ray], Any]
    init: dict[str, Any] = field(default_factory=dict)
    differs: str = ""
    """Why its result is meant to differ from Ray's."""


_programs: dict[str, Program] = {}


def program(
    function: Callable[..., Any] | None = None,
    *,
    each: dict[str, Any] | None = None,
    init: dict[str, Any] | None = None,
    differs: str | dict[str, str] = "",
) -> Any:
    """Register a function, once or for each case, under `<module>.<name>[<case>]`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        base = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        for case, value in {"": None}.items() if each is None else each.items():
            name = base if each is None else f"{base}[{case}]"
            why = differs if isinstance(differs, str) else differs.get(case, "")
            run = function if each is None else _with(function, value)
            assert name not in _programs, f"two programs are named {name}"
            _programs[name] = Program(name, run, {**SESSION, **(init or {})}, why)
        return function

    return register if function is None else register(function)


def _with(function: Callable[[Ray, Any], Any], value: Any) -> Callable[[Ray], Any]:
    return lambda ray: function(ray, value)


def programs() -> dict[str, Program]:
    """All of them, in the order of the files, those of one session next to each other."""
    from . import programs as package

    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
    ordered = sorted(_programs.values(), key=lambda entry: repr(entry.init))
    return {entry.name: entry for entry in ordered}


def sessions() -> Iterator[tuple[dict[str, Any], list[Program]]]:
    """The programs by the session they need."""
    by_init: dict[str, list[Program]] = {}
    for entry in programs().values():
        by_init.setdefault(repr(entry.init), []).append(entry)
    for group in by_init.values():
        yield group[0].init, group
