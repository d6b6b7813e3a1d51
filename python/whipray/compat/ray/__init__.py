"""The package `ray`: Whipray's names under Ray's, and Ray's older and private ones beside them."""

from __future__ import annotations

import logging
import sys
from typing import Any

from whipray.compat import VERSION
from whipray.compat.facade import show

if __name__ != "ray":
    raise ImportError("this package is imported as `ray`, see whipray.compat", name=__name__)

show(__name__, "whipray")

__version__ = VERSION
__commit__ = ""
RESTORE_WORKER_MODE = 3
SPILL_WORKER_MODE = 2
logger = logging.getLogger("ray")


class _Config:
    """`ray._config`: settings of Ray's engine, as far as its libraries ask for them."""

    def grpc_client_keepalive_time_ms(self) -> int:
        """For channels that libraries open themselves."""
        return 300_000

    def grpc_client_keepalive_timeout_ms(self) -> int:
        """For channels that libraries open themselves."""
        return 120_000


_config = _Config()
_FORMER = {
    "worker": "ray._private.worker",
    "state": "ray._private.state",
    "ray_constants": "ray._private.ray_constants",
    "serialization": "ray._private.serialization",
}
"""Names that are no modules of theirs: where they come from."""


def __getattr__(name: str) -> Any:
    source = _FORMER.get(name)
    if source is None:
        raise AttributeError(f"module 'ray' has no attribute {name!r}", name=name)
    __import__(source)
    return sys.modules[source]


def _notice() -> None:
    """Say once that an installed Ray is hidden; nothing is replaced silently."""
    from whipray._private import worker
    from whipray.compat import libraries

    other = None if worker.state.is_worker else libraries.installed_ray()
    if other is not None:
        used = "is not used" if libraries.root() is None else "gives its libraries only"
        sys.stderr.write(
            f"(whipray) `import ray` is Whipray in this process; the Ray in {other} {used}.\n"
        )


_notice()
