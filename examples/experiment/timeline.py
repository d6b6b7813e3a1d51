"""How busy the workers were, computed from the start and end of every trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .digits import Floats
from .search import TrialResult


def busy_share(
    results: Sequence[TrialResult], origin: float, num_cpus: int, bins: int = 90
) -> tuple[Floats, Floats]:
    """Edges of equal time bins in seconds after `origin` (bins + 1), and the share of the CPUs'
    time in each bin that trials were running (bins), between 0 and 1."""
    last = max(result.ended for result in results) - origin
    edges = np.linspace(0.0, last, bins + 1)
    busy = np.zeros(bins)
    for result in results:
        start, end = result.started - origin, result.ended - origin
        busy += np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0.0, None)
    return edges, busy / (edges[1] * num_cpus)


def utilization(results: Sequence[TrialResult], origin: float, num_cpus: int) -> float:
    """Share of the available CPU time, from `origin` to the last end, that trials were running."""
    span = max(result.ended for result in results) - origin
    return sum(result.seconds for result in results) / (span * num_cpus)
