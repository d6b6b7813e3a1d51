"""Resources that change while a session runs, which neither Ray nor Whipray has any more."""

from __future__ import annotations

from typing import Any, NoReturn


def set_resource(resource_name: str, capacity: float, node_id: Any = None) -> NoReturn:
    """DeprecationWarning, raised."""
    raise DeprecationWarning(
        f"set_resource({resource_name!r}) is gone: name resources when the session starts, by "
        "init(resources=...), or use placement groups."
    )
