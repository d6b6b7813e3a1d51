"""Step functions of time, which Ray's serving library adds up and averages to decide how many
replicas it needs.

A series is a list of points with `timestamp` in seconds and `value`, sorted by time; a value holds
until the next point, and 0 holds before the first.
"""

from __future__ import annotations

import math
from typing import Any


def merge_instantaneous_total_cython(series: list[list[Any]]) -> list[tuple[float, float]]:
    """(timestamp, sum of all series) where any of them changes, to 10 ms; one alone as it is."""
    active = [points for points in series if points]
    if len(active) == 1:
        return [(point.timestamp, point.value) for point in active[0]]
    changes: dict[float, float] = {}
    for points in active:
        before = 0.0
        for point in points:
            if point.value != before:
                moment = math.floor(point.timestamp * 100 + 0.5) / 100
                changes[moment] = changes.get(moment, 0.0) + point.value - before
            before = point.value
    total = 0.0
    merged = []
    for moment in sorted(changes):
        total += changes[moment]
        merged.append((moment, total))
    return merged


def time_weighted_average_cython(
    series: list[Any], window_start: float, window_end: float, last_window_s: float
) -> float | None:
    """The mean over a window; None if it holds no time.

    A window_start of minus infinity stands for the first point, a window_end of it for
    last_window_s after the last one.
    """
    if not series:
        return None
    start = series[0].timestamp if window_start == -math.inf else window_start
    end = series[-1].timestamp + last_window_s if window_end == -math.inf else window_end
    if end <= start:
        return None
    area, value, since = 0.0, 0.0, start
    for point in series:
        if point.timestamp >= end:
            break
        if point.timestamp > start:
            area += value * (point.timestamp - since)
            since = point.timestamp
        value = point.value
    return float((area + value * (end - since)) / (end - start))
