"""Numbers that the functions of one iterator share."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from whipray.util.timer import _Timer


class MetricsContext:
    """Counters, timers, other facts; and the actor that the current item came from."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = defaultdict(int)
        self.timers: dict[str, _Timer] = defaultdict(_Timer)
        self.info: dict[str, Any] = {}
        self.current_actor: Any = None

    def save(self) -> dict[str, Any]:
        """Counters and facts as plain dicts."""
        return {"counters": dict(self.counters), "info": dict(self.info), "timers": None}

    def restore(self, values: dict[str, Any]) -> None:
        """Take over what save() returned."""
        self.counters.clear()
        self.counters.update(values["counters"])
        self.timers.clear()
        self.info = values["info"]


class SharedMetrics:
    """Refers to a context; iterators that are united come to share one."""

    def __init__(
        self, metrics: MetricsContext | None = None, parents: list[SharedMetrics] | None = None
    ) -> None:
        self.parents = parents or []
        self.set(metrics or MetricsContext())

    def set(self, metrics: MetricsContext) -> None:
        """Refer to that context from now on, and so the parents."""
        self.metrics = metrics
        for parent in self.parents:
            parent.set(metrics)

    def get(self) -> MetricsContext:
        """The context."""
        return self.metrics
