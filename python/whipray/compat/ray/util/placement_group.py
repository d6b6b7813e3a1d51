"""`ray.util.placement_group`."""

from __future__ import annotations

from typing import Any

from whipray.compat.facade import show
from whipray.util.placement_group import STRATEGIES

show(__name__, "whipray.util.placement_group")

VALID_PLACEMENT_GROUP_STRATEGIES = set(STRATEGIES)


def _valid_resource_shape(resources: dict[str, float], bundle_specs: list[dict[str, Any]]) -> bool:
    """Whether some bundle has room for these resources."""
    return any(
        all(bundle.get(name, 0) >= want for name, want in resources.items() if name != "bundle")
        for bundle in bundle_specs
    )
