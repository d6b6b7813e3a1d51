"""The three parts of the experiment: do the work twice, compare, write the files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from . import digits, parameter_server, photo_pipeline, photos, plots, search
from .network import accuracy
from .outcome import Check, Outcome, stopwatch
from .timeline import utilization


def run_search(out: Path, num_cpus: int, console: Console) -> Outcome:
    """Hyper-parameter search over all families; writes `search.png`."""
    data, trials = digits.load(), search.all_trials()
    submitted = time.time()
    with stopwatch() as parallel:
        results = search.search(trials, data)
    with stopwatch() as loop:
        expected = search.search_in_loop(trials, data)
    print_best(console, results)
    console.print(f"  workers busy: {utilization(results, submitted, num_cpus):.0%} of the time")
    best = max(result.score for result in results)
    return Outcome(
        part="search",
        amount=f"{len(trials)} trials",
        parallel_seconds=parallel.seconds,
        loop_seconds=loop.seconds,
        checks=(
            Check("every score equals the plain loop's", same_scores(results, expected)),
            Check(
                "every trial read the shared array in place",
                all(result.shared_view for result in results),
            ),
            Check(f"the best accuracy, {best:.4f}, is above 0.98", best > 0.98),
        ),
        files=(plots.save(plots.search_figure(results, submitted, num_cpus), out / "search.png"),),
    )


def run_training(out: Path, num_cpus: int, console: Console) -> Outcome:
    """Synchronous and asynchronous training with a parameter server; writes `weights.npy`."""
    train, test = digits.split(digits.load())
    settings = parameter_server.Training()
    with stopwatch() as parallel:
        weights = parameter_server.train(train, settings)
    with stopwatch() as loop:
        expected = parameter_server.train_in_loop(train, settings)
    own_pace, journal = parameter_server.train_asynchronously(train, settings)
    replayed = parameter_server.replay(train, settings, journal)
    score = accuracy(weights, test, settings.shape)
    path = out / "weights.npy"
    np.save(path, weights)
    return Outcome(
        part="parameter server",
        amount=f"{settings.steps * settings.shards} gradients",
        parallel_seconds=parallel.seconds,
        loop_seconds=loop.seconds,
        checks=(
            Check(
                "the weights equal the plain loop's, bit by bit", np.array_equal(weights, expected)
            ),
            Check(
                f"asynchronous training applied all {len(journal)} gradients",
                len(journal) == settings.steps * settings.shards,
            ),
            Check(
                "replaying its journal gives the same weights, bit by bit",
                np.array_equal(own_pace, replayed),
            ),
            Check(f"accuracy on unseen digits, {score:.4f}, is above 0.96", score > 0.96),
        ),
        files=(path,),
    )


def run_photos(out: Path, num_cpus: int, console: Console) -> Outcome:
    """Edit the photographs; writes all of them to `photos/` and a sheet to `photos.png`."""
    edits, limit = photos.all_edits(), 3 * num_cpus
    with stopwatch() as parallel:
        result = photo_pipeline.run(edits, limit)
    with stopwatch() as loop:
        expected = photo_pipeline.run_in_loop(edits)
    directory = out / "photos"
    directory.mkdir(exist_ok=True)
    for edit, image in result.images.items():
        (directory / edit.filename).write_bytes(image)
    sheet = plots.save(plots.photo_figure(result.images), out / "photos.png")
    return Outcome(
        part="photographs",
        amount=f"{len(edits)} images",
        parallel_seconds=parallel.seconds,
        loop_seconds=loop.seconds,
        checks=(
            Check(
                "every encoded image equals the plain loop's, byte by byte",
                result.images == expected,
            ),
            Check(
                f"{result.most_in_flight} edits in flight at most, as allowed",
                result.most_in_flight == limit,
            ),
        ),
        files=(sheet, directory),
    )


def same_scores(results: list[search.TrialResult], expected: list[search.TrialResult]) -> bool:
    """Whether two searches ran the same trials and found the same accuracy in every fold."""
    return [(one.trial, one.fold_scores) for one in results] == [
        (one.trial, one.fold_scores) for one in expected
    ]


def print_best(console: Console, results: list[search.TrialResult]) -> None:
    """A table with the best trial of each family."""
    table = Table(title=f"Best of {len(results)} trials, by family", box=box.SIMPLE_HEAD)
    table.add_column("family")
    table.add_column("accuracy", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("hyper-parameters")
    for best in search.best_by_family(results):
        settings = ", ".join(f"{name}={value}" for name, value in best.trial.params)
        table.add_row(best.trial.family, f"{best.score:.4f}", f"{best.seconds:.2f}", settings)
    console.print(table)
