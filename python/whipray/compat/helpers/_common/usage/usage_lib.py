"""Usage statistics: nothing is recorded and nothing is sent."""

from __future__ import annotations

import enum
from typing import Any


def record_library_usage(library_usage: str) -> None:
    """Does nothing."""


def record_extra_usage_tag(key: Any, value: str, gcs_client: Any = None) -> None:
    """Does nothing."""


def usage_stats_enabled() -> bool:
    """False."""
    return False


class TagKey(enum.Enum):
    """Kinds of tags; none is recorded."""

    _TEST1 = 0
