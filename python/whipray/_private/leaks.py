"""Finds lines that allocate more memory each time some code is run."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterable
from statistics import StatisticsError, correlation, linear_regression
from typing import NamedTuple

FRAMES = 20
PLACES_PER_LOOK = 100
LEAST_INCREASE = 1000
TRENDS = ((60.0, 0.875), (20.0, 0.9), (10.0, 0.95))
"""Bytes per run, and the correlation with the number of runs that makes such a slope a leak."""

Histories = dict[tracemalloc.Traceback, list[int]]


class Suspect(NamedTuple):
    """A place whose memory grew: `memory_increase` bytes in all, `slope` bytes per run."""

    traceback: tracemalloc.Traceback
    memory_increase: int
    slope: float
    rvalue: float
    hist: list[int]


def find(
    desc: str,
    init: Callable[[], object] | None,
    code: Callable[[], object],
    repeats: int,
    max_num_trials: int = 1,
    min_memory_increase: int = 0,
) -> list[Suspect]:
    """The places where `code` seems to leak, the worst first.

    `code` runs `repeats` times after `init`.  While something is suspected and trials are left, it
    is run again, `repeats` times more often each trial, and only those places are looked at.
    """
    suspects: list[Suspect] = []
    for trial in range(1, max_num_trials + 1):
        print(f"{desc}: {repeats * trial} runs")
        watched = {suspect.traceback for suspect in suspects}
        histories = _histories(init, code, repeats * trial, watched)
        suspects = sorted(
            (s for s in _growing(histories) if s.memory_increase >= min_memory_increase),
            key=lambda suspect: -suspect.memory_increase,
        )
        if not suspects:
            return []
        print(_told(suspects))
    return suspects


def _histories(
    init: Callable[[], object] | None,
    code: Callable[[], object],
    repeats: int,
    watched: set[tracemalloc.Traceback],
) -> Histories:
    """Bytes held after each run, by place: the largest ones, or those watched."""
    histories: Histories = {}
    tracemalloc.start(FRAMES)
    try:
        if init is not None:
            init()
        for _ in range(repeats):
            gc.collect()
            code()
            gc.collect()
            places = tracemalloc.take_snapshot().statistics("traceback")
            for place in places[:PLACES_PER_LOOK]:
                if not watched or place.traceback in watched:
                    histories.setdefault(place.traceback, []).append(place.size)
    finally:
        tracemalloc.stop()
    return histories


def _growing(histories: Histories) -> Iterable[Suspect]:
    for traceback, hist in histories.items():
        increase = hist[-1] - hist[0]
        if increase <= LEAST_INCREASE or traceback[-1].filename in (__file__, tracemalloc.__file__):
            continue
        runs = range(len(hist))
        try:
            slope, rvalue = linear_regression(runs, hist).slope, correlation(runs, hist)
        except StatisticsError:
            continue
        if any(slope > least and rvalue > sure for least, sure in TRENDS):
            yield Suspect(traceback, increase, slope, rvalue, hist)


def _told(suspects: list[Suspect]) -> str:
    worst = suspects[0]
    lines = [f"{len(suspects)} suspects; the worst allocates at", *worst.traceback.format()]
    lines.append(
        f"{worst.memory_increase} bytes more in all, {worst.slope:.1f} per run "
        f"(correlation {worst.rvalue:.3f})"
    )
    return "\n".join(lines)
