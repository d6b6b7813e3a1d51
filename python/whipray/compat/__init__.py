"""The name `ray`: programs and libraries that say `import ray` run on Whipray as they are.

Nothing happens until somebody asks for it, in one of these ways:

    python -m whipray run script.py [arguments]      or `run -m module [arguments]`
    WHIPRAY_AS_RAY=1 python script.py                where Whipray is installed as a package
    import whipray.compat; whipray.compat.install()  before the first `import ray`
    pytest --whipray-as-ray                          or `whipray_as_ray = true` in the ini file
    %load_ext whipray.compat                         in a notebook

Workers follow their driver.  After that `ray`, `ray.util.queue`, `ray.exceptions` and so on are
modules of their own whose names are those of Whipray, one object behind both, and
`importlib.metadata` knows a distribution `ray`.  A real Ray that is installed as well is hidden,
which the driver says once; its libraries (`ray.data`, `ray.tune`, `ray.train`) are used, see
`whipray.compat.libraries`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWITCH = "WHIPRAY_AS_RAY"
"""Environment variable: anything but "" and "0" lets `ray` be Whipray."""
VERSION = "2.60.0"
"""The version of Ray whose behaviour is followed."""


def asked() -> bool:
    """True if the environment asks for the name."""
    return os.environ.get(SWITCH, "0") not in ("", "0")


def installed() -> bool:
    """True if `ray` is Whipray in this process."""
    finder = sys.modules.get("whipray.compat.finder")
    return finder is not None and any(isinstance(each, finder.Finder) for each in sys.meta_path)


def install() -> None:
    """Let `ray` be Whipray from now on, in this process and its workers.

    RuntimeError when another `ray` has been imported before: two of them can not be told apart.
    """
    if installed():
        return
    other = sys.modules.get("ray")
    if other is not None:
        raise RuntimeError(
            f"ray is imported already, from {getattr(other, '__file__', 'somewhere else')}; "
            f"call whipray.compat.install() or set {SWITCH}=1 before the first `import ray`."
        )
    from whipray.compat.finder import Finder

    sys.meta_path.insert(0, Finder())


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext whipray.compat`."""
    install()
