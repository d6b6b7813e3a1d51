"""The pictures: scores and worker utilization of the search, and a sheet of edited photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .photo_pipeline import Images
from .photos import PHOTOGRAPHS, SETTINGS, Edit, decode
from .search import FAMILIES, TrialResult, best_by_family
from .timeline import busy_share, utilization

PALETTE = ("#3b6fb6", "#d9792b", "#3f9c6c", "#c2485a", "#7c62b3", "#8a6d52", "#d47fb3")
COLOURS = dict(zip(FAMILIES, PALETTE, strict=True))
INK = "#2b2f36"
FAINT = "#e4e7ec"


def search_figure(results: Sequence[TrialResult], origin: float, num_cpus: int) -> Figure:
    """Accuracy of every trial, which worker ran it when, and how many workers were busy.

    `origin` is the time at which the trials were submitted, in seconds since the epoch.
    """
    figure = Figure(figsize=(12.0, 6.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.35), height_ratios=(1.25, 1.0))
    score_axes = figure.add_subplot(grid[:, 0])
    worker_axes = figure.add_subplot(grid[0, 1])
    busy_axes = figure.add_subplot(grid[1, 1], sharex=worker_axes)
    _draw_scores(score_axes, results)
    _draw_workers(worker_axes, results, origin)
    _draw_utilization(busy_axes, results, origin, num_cpus)
    figure.suptitle(
        f"Hyper-parameter search on handwritten digits: {len(results)} trials on {num_cpus} CPUs",
        fontsize=14,
        fontweight="bold",
        color=INK,
    )
    return figure


def photo_figure(images: Images) -> Figure:
    """Every filter at its strongest on each whole photograph, decoded again from `images`."""
    figure = Figure(figsize=(12.0, 4.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(PHOTOGRAPHS), len(SETTINGS))
    for row, photograph in zip(grid, PHOTOGRAPHS, strict=True):
        for axes, name in zip(row, SETTINGS, strict=True):
            edit = _strongest(images, photograph, name)
            pixels = decode(images[edit])
            axes.imshow(pixels)
            axes.set_axis_off()
            axes.set_title(
                f"{name} {edit.amount:g}, {pixels.shape[1]} x {pixels.shape[0]}",
                loc="left",
                fontsize=10,
                color=INK,
            )
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG at 130 dots per inch; returns `path`."""
    figure.savefig(path, dpi=130)
    return path


def _draw_scores(axes: Axes, results: Sequence[TrialResult]) -> None:
    ranked = best_by_family(results)
    for row, best in enumerate(reversed(ranked)):
        family = best.trial.family
        scores = [result.score for result in results if result.trial.family == family]
        axes.plot(
            [min(scores), max(scores)],
            [row, row],
            color=FAINT,
            lw=7,
            zorder=1,
            solid_capstyle="round",
        )
        axes.scatter(
            scores,
            [row] * len(scores),
            s=52,
            color=COLOURS[family],
            alpha=0.55,
            edgecolor="white",
            linewidth=0.7,
            zorder=2,
        )
        axes.scatter([best.score], [row], s=110, color=COLOURS[family], edgecolor=INK, zorder=3)
        axes.annotate(
            f"{best.score:.3f}",
            (best.score, row),
            xytext=(0, 11),
            ha="center",
            textcoords="offset points",
            fontsize=9,
            color=INK,
        )
    axes.set_yticks(range(len(ranked)), [best.trial.family for best in reversed(ranked)])
    axes.set_ylim(-0.6, len(ranked) - 0.3)
    axes.margins(x=0.07)
    axes.set_xlabel("accuracy, mean of the folds")
    _finish(axes, "Score of every trial, best one outlined", grid="x")


def _draw_workers(axes: Axes, results: Sequence[TrialResult], origin: float) -> None:
    first_seen = sorted(results, key=lambda result: result.started)
    pids = list(dict.fromkeys(result.pid for result in first_seen))
    for result in results:
        axes.barh(
            pids.index(result.pid),
            result.seconds,
            left=result.started - origin,
            height=0.62,
            color=COLOURS[result.trial.family],
            edgecolor="white",
            linewidth=0.6,
        )
    axes.set_yticks(range(len(pids)), [f"worker {index + 1}" for index in range(len(pids))])
    axes.set_ylim(len(pids) - 0.4, -0.6)
    axes.tick_params(labelbottom=False)
    families = dict.fromkeys(result.trial.family for result in first_seen)
    keys = [Line2D([], [], marker="s", ls="", ms=8, color=COLOURS[name]) for name in families]
    axes.legend(
        keys,
        list(families),
        ncols=4,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.1),
        frameon=False,
        fontsize=9,
        handletextpad=0.1,
        columnspacing=1.2,
        borderaxespad=0.0,
    )
    _finish(axes, "Trials by worker", grid="x")


def _draw_utilization(
    axes: Axes, results: Sequence[TrialResult], origin: float, num_cpus: int
) -> None:
    edges, share = busy_share(results, origin, num_cpus)
    mean = utilization(results, origin, num_cpus)
    axes.stairs(share, edges, fill=True, color=PALETTE[0], alpha=0.3)
    axes.stairs(share, edges, color=PALETTE[0], linewidth=1.3)
    axes.axhline(mean, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1.08)
    axes.set_xlim(0, float(edges[-1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("busy CPU time")
    axes.set_xlabel("seconds after submission")
    _finish(axes, f"Worker utilization over time, {mean:.0%} on average", grid="y")


def _finish(axes: Axes, title: str, grid: Literal["x", "y"]) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(axis=grid, color=FAINT, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b8bec8")


def _strongest(images: Images, photograph: str, name: str) -> Edit:
    """The edit with the largest amount of a filter on the whole of a photograph."""
    wanted = [
        edit
        for edit in images
        if (edit.photograph, edit.crop, edit.filter) == (photograph, "whole", name)
    ]
    return max(wanted, key=lambda edit: edit.amount)
