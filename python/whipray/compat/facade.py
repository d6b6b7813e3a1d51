"""Modules that show what another module has."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class Facade(ModuleType):
    """Answers with its own names, then with those of `_shown`, then with its submodules."""

    _shown: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        # A submodule of Whipray is a submodule here, not Whipray's: `ray.util`, not `whipray.util`.
        more = ""
        shown = self.__dict__.get("_shown")
        if shown is not None:
            try:
                value = getattr(shown, name)
            except AttributeError as absent:
                if isinstance(absent.__cause__, ModuleNotFoundError):
                    raise  # the submodule is there and lacks a package
                more = "".join(str(absent).partition(": ")[1:])
            else:
                if not isinstance(value, ModuleType):
                    if not (name.startswith("__") and name.endswith("__")):
                        self.__dict__[name] = value
                    return value
        if not name.startswith("__"):
            found = _submodule(self.__name__, name)
            if found is not None:
                return found
        raise AttributeError(
            f"module {self.__name__!r} has no attribute {name!r}{more}", name=name, obj=self
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of ray.util.placement_group must not hide the function of that name.
        if isinstance(value, ModuleType) and self._is_no_module(name):
            return
        super().__setattr__(name, value)

    def _is_no_module(self, name: str) -> bool:
        try:
            return not isinstance(getattr(self._shown, name), ModuleType)
        except AttributeError:
            return False

    def __reduce__(self) -> tuple[Any, ...]:
        # Functions that refer to a module travel with its name; picklers know plain modules only.
        return importlib.import_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        shown = self.__dict__.get("_shown")
        theirs = {} if shown is None else vars(shown)
        names = [name for name in dir(shown) if not isinstance(theirs.get(name), ModuleType)]
        return sorted({*self.__dict__, *names} - {"_shown"})


def _submodule(parent: str, name: str) -> ModuleType | None:
    full = f"{parent}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        return None


def show(name: str, source: str | None = None) -> None:
    """Make the module `name`, which is being imported, a facade of the module `source`.

    The classes of `source` say from then on that they are from `name`: type names that programs
    compare, tracebacks and pickles have Ray's names.  Without `source` only its submodules come.
    """
    module = sys.modules[name]
    module.__class__ = Facade
    if source is None:
        return
    shown = importlib.import_module(source)
    module.__dict__["_shown"] = shown
    if module.__doc__ is None:
        module.__doc__ = shown.__doc__
    for value in list(vars(shown).values()):
        if isinstance(value, type) and value.__module__ == source:
            value.__module__ = name
