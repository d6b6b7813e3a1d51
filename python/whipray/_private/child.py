"""How this package starts Python processes that are none of its workers."""

from __future__ import annotations

import os
import sys

_PROGRAM = (
    "import sys, importlib; sys.path.insert(0, sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).main(*sys.argv[3:])"
)


def command(module: str, *arguments: str) -> list[str]:
    """The command line that calls `main(*arguments)` of a module of this very package.

    The current directory is not on its import path.
    """
    import whipray

    place = os.path.dirname(os.path.dirname(os.path.abspath(whipray.__file__)))
    return [sys.executable, "-P", "-c", _PROGRAM, place, module, *arguments]
