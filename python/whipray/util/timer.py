"""How long a block of code takes, on average over its last runs."""

from __future__ import annotations

import time
from collections import deque
from typing import Any


class _Timer:
    """`with timer:` measures a block.  Not for several threads at once."""

    def __init__(self, window_size: int = 10) -> None:
        self._window_size = window_size
        self._samples: deque[float] = deque(maxlen=window_size)
        self._units_processed: deque[float] = deque(maxlen=window_size)
        self._start_time: float | None = None
        self._total_time = 0.0
        self.count = 0

    def __enter__(self) -> None:
        assert self._start_time is None, "concurrent updates not supported"
        self._start_time = time.time()

    def __exit__(self, *error: Any) -> None:
        assert self._start_time is not None
        self.push(time.time() - self._start_time)
        self._start_time = None

    def push(self, time_delta: float) -> None:
        """Add a duration in seconds."""
        self._samples.append(time_delta)
        self.count += 1
        self._total_time += time_delta

    def push_units_processed(self, n: float) -> None:
        """Add how much was done in one run."""
        self._units_processed.append(n)

    def has_units_processed(self) -> bool:
        """True once any have been added."""
        return bool(self._units_processed)

    @property
    def mean(self) -> float:
        """Seconds of a run."""
        return sum(self._samples) / len(self._samples) if self._samples else 0.0

    @property
    def mean_units_processed(self) -> float:
        """Units of a run."""
        units = self._units_processed
        return sum(units) / len(units) if units else 0.0

    @property
    def mean_throughput(self) -> float:
        """Units per second."""
        total = sum(self._samples)
        return sum(self._units_processed) / total if total else 0.0
