"""The plots of docs/performance.md, drawn from a result file: one picture with a panel for each
question. A panel whose rows were not measured says so."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.plot import LIMIT, RAY, WHIPRAY, CannotPlot
from benchmarks.report import Results
from benchmarks.rows import Row

MIB = 1 << 20
PUTS = {"64kib": MIB // 16, "1mib": MIB, "16mib": 16 * MIB, "256mib": 256 * MIB, "1gib": 1024 * MIB,
        "4gib": 4096 * MIB}  # fmt: skip
GETS = {"8b": 8, "1kib": 1024, "100kib": 100 * 1024, "1mib": MIB, "100mib": 100 * MIB}
SIDES = (("ray", "Ray", RAY), ("whipray", "Whipray", WHIPRAY))
Points = list[tuple[float, float]]


def save(results: Results, path: Path) -> None:
    """Draw all panels into a PNG file."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise CannotPlot("no plot: matplotlib is not installed (pip install matplotlib)") from None
    rows = {row.key: row for row in results.rows()}
    figure, axes = pyplot.subplots(3, 2, figsize=(11, 11))
    _payload(axes[0][0], results, rows)
    _get(axes[0][1], results, rows)
    _along(axes[1][0], results, rows.get("curve-callers"), "caller processes", "tasks/s")
    _along(axes[1][1], results, rows.get("curve-queued"), "tasks queued at once", "tasks/s")
    _latency(axes[2][0], results, rows.get("curve-latency"))
    _memory(axes[2][1], results, rows)
    machine = results.data["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['usable_cores']} cores, Linux {machine['kernel']}")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _points(results: Results, row: Row | None, side: str) -> Points:
    """A row whose figures are named by a number: (number, median)."""
    found: Points = []
    if row is None:
        return found
    for figure in row.figures:
        value = results.median(row, side, figure)
        if value is not None:
            found.append((float(figure.name.strip("p").split()[0].replace(",", "")), value))
    return found


def _lines(axes: Any, lines: list[tuple[str, str, Points, str]], xlabel: str, ylabel: str) -> None:
    for label, color, points, style in lines:
        if points:
            axes.plot(*zip(*points, strict=True), style, color=color, label=label)
    axes.set_xscale("log")
    values = [value for _, _, points, _ in lines for _, value in points]
    if values and max(values) < 10 * min(values):
        axes.set_ylim(0, 1.1 * max(values))
    else:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "not measured in this run", ha="center", transform=axes.transAxes)


def _payload(axes: Any, results: Results, rows: dict[str, Row]) -> None:
    puts = [(size, rows[f"put-written-{key}"]) for key, size in PUTS.items()
            if f"put-written-{key}" in rows]  # fmt: skip
    lines: list[tuple[str, str, Points, str]] = []
    for side, name, color in SIDES:
        for at, style in ((0, "o:"), (1, "o-")):  # the figures are cold and warm
            values = [(size, results.median(row, side, row.figures[at])) for size, row in puts]
            points = [(float(size), value) for size, value in values if value is not None]
            lines.append((f"{name}, {('cold', 'warm')[at]}", color, points, style))
    bounds = [(size, results.limit(row.figures[1])) for size, row in puts]
    limits = [(float(size), value) for size, value in bounds if value is not None]
    lines.append(("memcpy into warm pages", LIMIT, limits, "--"))
    _lines(axes, lines, "bytes of a written array", "put, GB/s")


def _get(axes: Any, results: Results, rows: dict[str, Row]) -> None:
    lines: list[tuple[str, str, Points, str]] = []
    for side, name, color in SIDES:
        points: Points = []
        for key, size in GETS.items():
            row = rows.get(f"get-{key}")
            value = results.median(row, side, row.figures[0]) if row else None
            if value is not None:
                points.append((float(size), value))
        lines.append((name, color, points, "o-"))
    _lines(axes, lines, "bytes of an array", "get, us")


def _along(axes: Any, results: Results, row: Row | None, xlabel: str, ylabel: str) -> None:
    lines = [(name, color, _points(results, row, side), "o-") for side, name, color in SIDES]
    _lines(axes, lines, xlabel, ylabel)


def _latency(axes: Any, results: Results, row: Row | None) -> None:
    lines: list[tuple[str, str, Points, str]] = []
    for side, name, color in SIDES:
        points = [(value, share) for share, value in _points(results, row, side)]
        lines.append((name, color, points, "o-"))
    _lines(axes, lines, "us for get(noop.remote())", "calls that took no longer, %")
    axes.set_yscale("linear")
    axes.set_ylim(0, 105)


def _memory(axes: Any, results: Results, rows: dict[str, Row]) -> None:
    keys = {"memory-per-ref": "small ref", "memory-per-task": "queued task",
            "memory-per-finished-task": "finished task"}  # fmt: skip
    for place, (side, name, color) in enumerate(SIDES):
        values = []
        for at, key in enumerate(keys):
            row = rows.get(key)
            value = results.median(row, side, row.figures[0]) if row else None
            if value is not None:
                values.append((at + 0.4 * place - 0.2, value))
        if values:
            axes.bar(*zip(*values, strict=True), width=0.38, color=color, label=name)
    axes.set_xticks(range(len(keys)), list(keys.values()))
    if results.data["rows"] and len(axes.containers) > 1:
        axes.set_yscale("log")
    axes.set_ylabel("bytes in all processes")
    axes.grid(axis="y", alpha=0.3)
    if axes.patches:
        axes.legend(fontsize=8)
