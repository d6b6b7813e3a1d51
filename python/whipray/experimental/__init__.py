"""Where objects are; progress bars; the key-value store of a session."""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING, Any

from whipray.experimental.locations import get_local_object_locations, get_object_locations

if TYPE_CHECKING:
    from whipray.experimental import internal_kv as internal_kv
    from whipray.experimental import shuffle as shuffle
    from whipray.experimental import tqdm_ray as tqdm_ray

__all__ = ["get_local_object_locations", "get_object_locations", "internal_kv", "tqdm_ray"]


def __getattr__(name: str) -> Any:
    if name in ("dynamic_resources", "internal_kv", "shuffle", "tqdm_ray"):
        __import__(f"{__name__}.{name}")
        return _sys.modules[f"{__name__}.{name}"]
    if name == "set_resource":
        from whipray.experimental.dynamic_resources import set_resource

        return set_resource
    from whipray._private.absent import no_attribute

    raise no_attribute(__name__, name)
