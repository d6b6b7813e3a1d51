"""Finds the modules named `ray` and `ray.…` and the distribution `ray`.

A module is looked for in this order:

1. as a file under `compat/ray`: what Ray has and Whipray has elsewhere or in another shape;
2. as the module of that name in Whipray, which a facade shows under the other name;
3. as a file of an installed Ray, where its libraries are asked for, see `libraries`;
4. else as a file under `compat/helpers`: small stand-ins for modules of Ray that have nothing to do
   with its engine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from whipray.compat import facade, libraries

HERE = os.path.dirname(__file__)
OWN = os.path.join(HERE, "ray")
HELPERS = os.path.join(HERE, "helpers")
NOT_OF_RAY = frozenset(
    {"__main__", "_core", "_private", "bin", "cli", "compat", "dashboard", "testing"}
)
"""Modules of Whipray that are not shown under Ray's name: Ray has others of that name, or none."""


class Finder:
    """An entry of sys.meta_path."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of `ray` or of a module below it; None for all other names."""
        top, *parts = name.split(".")
        if top != "ray":
            return None
        found = _file(name, OWN, parts) or _mirrored(name, parts)
        if found is None:
            root = libraries.root()
            found = _file(name, root, parts) if root else _file(name, HELPERS, parts)
        return found

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        """The distribution `ray`, for importlib.metadata."""
        wanted = getattr(context, "name", None)
        if wanted is None or wanted.lower() == "ray":
            from whipray.compat.distribution import Distribution

            yield Distribution()

    def invalidate_caches(self) -> None:
        """Nothing is cached."""


def _file(name: str, root: str, parts: list[str]) -> ModuleSpec | None:
    """The spec of the package or module that lies as a file under `root`."""
    base = os.path.join(root, *parts)
    package = os.path.join(base, "__init__.py")
    if os.path.isfile(package):
        return spec_from_file_location(
            name, package, submodule_search_locations=list(_folders(parts))
        )
    return spec_from_file_location(name, base + ".py") if os.path.isfile(base + ".py") else None


def _folders(parts: list[str]) -> Iterator[str]:
    """The folders with files of a package."""
    for root in (OWN, libraries.root() or HELPERS):
        folder = os.path.join(root, *parts)
        if os.path.isdir(folder):
            yield folder


def _mirrored(name: str, parts: list[str]) -> ModuleSpec | None:
    """The spec of a facade of Whipray's module of that name."""
    if not parts or parts[0] in NOT_OF_RAY:
        return None
    source = ".".join(("whipray", *parts))
    try:
        original = find_spec(source)
    except ModuleNotFoundError:
        return None
    if original is None:
        return None
    spec = ModuleSpec(name, _MirrorLoader(source), origin=original.origin)
    if original.submodule_search_locations is not None:
        spec.submodule_search_locations = list(_folders(parts))
    spec.has_location = original.has_location
    return spec


class _MirrorLoader(Loader):
    """Fills a module that only shows another one."""

    def __init__(self, source: str) -> None:
        self.source = source

    def exec_module(self, module: ModuleType) -> None:
        facade.show(module.__name__, self.source)

    def get_source(self, name: str) -> str | None:
        """The text of the original, for tracebacks and inspect."""
        original = sys.modules[self.source].__spec__
        loader: Any = None if original is None else original.loader
        text: str | None = loader.get_source(self.source) if loader is not None else None
        return text
