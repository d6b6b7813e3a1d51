"""Amounts, times and spans of rows as people read them."""

from __future__ import annotations

import datetime
from typing import Any


class Humanify:
    """Texts in place of numbers."""

    @staticmethod
    def timestamp(x: float) -> str:
        """Milliseconds since 1970 as a local date and time."""
        return str(datetime.datetime.fromtimestamp(x / 1000))

    @staticmethod
    def memory(x: float) -> str:
        """Bytes."""
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if x >= size:
                return f"{x / size:.3f} {unit}"
        return f"{x:.3f} B"

    @staticmethod
    def duration(x: float) -> str:
        """Milliseconds as hours, minutes and seconds."""
        return str(datetime.timedelta(milliseconds=x))

    @staticmethod
    def events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Events of a task; their times are changed in place."""
        for event in events:
            if "created_ms" in event:
                event["created_ms"] = Humanify.timestamp(event["created_ms"])
        return events

    @staticmethod
    def node_resources(resources: dict[str, Any]) -> dict[str, Any]:
        """Resources of a node; amounts of memory are changed in place."""
        for name in resources:
            if "memory" in name:
                resources[name] = Humanify.memory(resources[name])
        return resources
