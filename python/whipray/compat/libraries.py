"""Where the files of a real Ray lie whose libraries are to run on Whipray.

`ray.data`, `ray.tune` and `ray.train` are Python on top of Ray's public interface.  When Ray's
wheel is installed beside Whipray, or WHIPRAY_RAY_LIBS names its folder, they are imported from
there and run on this engine; nothing of Ray's own engine is loaded.  WHIPRAY_RAY_LIBS=0 switches
that off.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "WHIPRAY_RAY_LIBS"
MARK = "_version.py"
"""A file that every Ray has and no other package named `ray`."""
BUNDLED = "thirdparty_files"
"""Where the wheel keeps packages that its libraries need and that it does not ask pip for: psutil
and colorama."""

_found: list[str | None] = []


def root() -> str | None:
    """The folder of the real Ray's package, or None where its libraries are not to be had."""
    if not _found:
        _found.append(_locate())
        _add_bundled(_found[0])
    return _found[0]


def _add_bundled(folder: str | None) -> None:
    """Let the wheel's own packages be found, after those that are installed."""
    bundled = os.path.join(folder, BUNDLED) if folder else ""
    if os.path.isdir(bundled) and bundled not in sys.path:
        sys.path.append(bundled)


def _locate() -> str | None:
    named = os.environ.get(VARIABLE)
    if named == "0":
        return None
    if not named:
        return installed_ray()
    for folder in (named, os.path.join(named, "ray")):
        if _is_ray(folder):
            return folder
    raise ImportError(f"{VARIABLE}={named}: there are no files of Ray's wheel", name="ray")


def installed_ray() -> str | None:
    """The folder of a real Ray on sys.path."""
    for entry in sys.path:
        folder = os.path.join(entry, "ray")
        if _is_ray(folder):
            return folder
    return None


def _is_ray(folder: str) -> bool:
    """True for a real one; ours lies beside this file."""
    if folder == os.path.join(os.path.dirname(__file__), "ray"):
        return False
    return os.path.isfile(os.path.join(folder, MARK)) and os.path.isdir(
        os.path.join(folder, "_private")
    )
