"""A plot of a result file: every figure of the rows as a multiple of Ray's, on a log scale."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.report import Results, times_better
from benchmarks.rows import Figure, Row

RAY, WHIPRAY, LIMIT = "#8c8c8c", "#1f6fb4", "#c0392b"


class CannotPlot(Exception):
    """There is nothing to draw, or nothing to draw with."""


def comparable(results: Results) -> list[tuple[Row, Figure, float, float | None]]:
    """Figures with Ray's value, with how much better Whipray and the limit are."""
    found = []
    for row in results.rows():
        for figure in row.figures:
            ray = results.median(row, "ray", figure)
            ours = times_better(figure, results.median(row, "whipray", figure), ray)
            limit = times_better(figure, results.limit(figure), ray)
            if ours or limit:
                found.append((row, figure, ours or 0.0, limit))
    return found


def save(results: Results, path: Path) -> None:
    """Draw the comparison into a PNG file."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise CannotPlot("no plot: matplotlib is not installed (pip install matplotlib)") from None
    lines = comparable(results)
    if not lines:
        raise CannotPlot("no plot: no figure has a value of Ray to compare with")
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.24 * len(lines)))
    _draw(axes, lines)
    machine = results.data["machine"]
    axes.set_title(f"{machine['cpu']}, {machine['usable_cores']} cores, Linux {machine['kernel']}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(axes: Any, lines: list[tuple[Row, Figure, float, float | None]]) -> None:
    places = range(len(lines), 0, -1)
    labels = [
        f"{row.title}, {figure.name}" if len(row.figures) > 1 else row.title
        for row, figure, _, _ in lines
    ]
    ours = [(at, line[2]) for at, line in zip(places, lines, strict=True) if line[2]]
    axes.hlines([at for at, _ in ours], 1, [value for _, value in ours], color=WHIPRAY, lw=5)
    axes.plot(
        [value for _, value in ours], [at for at, _ in ours], "o", color=WHIPRAY, label="Whipray"
    )
    bounds = [(at, line[3]) for at, line in zip(places, lines, strict=True) if line[3]]
    axes.plot(
        [value for _, value in bounds],
        [at for at, _ in bounds],
        "|",
        color=LIMIT,
        ms=12,
        mew=2,
        label="limit of the machine",
    )
    axes.axvline(1, color=RAY, label="Ray")
    axes.set_xscale("log")
    axes.set_yticks(list(places), labels, fontsize=8)
    axes.set_ylim(0, len(lines) + 1)
    axes.set_xlabel("times better than Ray")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right")
