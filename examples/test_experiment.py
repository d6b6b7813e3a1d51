"""The experiment, driven by pytest: `pytest examples/test_experiment.py`.

All trials are submitted when the first test needs one.  Each parametrized test then waits for its
own trial only, so that the trials run in parallel while pytest reports them one by one.
"""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from examples.experiment import (
    __main__,
    digits,
    flow,
    network,
    parameter_server,
    photo_pipeline,
    photos,
    plots,
    search,
    timeline,
)
from examples.experiment.engine import PRELOAD
from examples.experiment.outcome import Check, Outcome

REPOSITORY = Path(__file__).resolve().parents[1]
NUM_CPUS = 2

pytestmark = pytest.mark.whipray(num_cpus=NUM_CPUS, preload=PRELOAD)

LOWEST_ACCURACY = {
    "MLP": 0.95,
    "random forest": 0.95,
    "extra trees": 0.95,
    "logistic": 0.90,
    "SVM": 0.90,
    "nearest": 0.97,
    "naive Bayes": 0.83,
}


def first_and_last_of_each_family() -> list[search.Trial]:
    """Two corners of every family's grid."""
    chosen: list[search.Trial] = []
    for _, group in groupby(search.all_trials(), key=lambda trial: trial.family):
        trials = list(group)
        chosen += [trials[0], trials[-1]]
    return chosen


TRIALS = first_and_last_of_each_family()
EDITS = [edit for edit in photos.all_edits() if edit.crop == "centre"]
SHORT_TRAINING = parameter_server.Training(steps=40, batch=200)


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load()


@pytest.fixture(scope="module")
def submitted(whipray_module: ModuleType, data: digits.Digits) -> dict[search.Trial, Any]:
    """References to the results of all trials, which share one copy of the pixels."""
    pixels, labels = whipray_module.put(data.pixels), whipray_module.put(data.labels)
    return {trial: search.remote_trial.remote(trial, pixels, labels) for trial in TRIALS}


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial_scores_like_the_plain_call(
    whipray: ModuleType,
    submitted: dict[search.Trial, Any],
    data: digits.Digits,
    trial: search.Trial,
) -> None:
    result = whipray.get(submitted[trial])
    expected = search.run_trial(trial, data.pixels, data.labels)
    assert result.trial == trial
    assert result.fold_scores == expected.fold_scores
    assert result.score >= LOWEST_ACCURACY[trial.family]


def test_trials_share_one_array_and_fill_the_workers(
    whipray: ModuleType, submitted: dict[search.Trial, Any]
) -> None:
    results = whipray.get(list(submitted.values()))
    assert all(result.shared_view for result in results)
    assert len({result.pid for result in results}) >= NUM_CPUS
    origin = min(result.started for result in results)
    edges, share = timeline.busy_share(results, origin, NUM_CPUS)
    assert 0.0 < share.max() <= 1.0 + 1e-9
    busy_seconds = float(np.sum(share * np.diff(edges))) * NUM_CPUS
    assert busy_seconds == pytest.approx(sum(result.seconds for result in results))


def test_search_finds_the_best_family(
    whipray: ModuleType, data: digits.Digits, tmp_path: Path
) -> None:
    candidates = [trial for trial in TRIALS if trial.family in ("nearest", "naive Bayes", "SVM")]
    results = search.search(candidates, data)
    assert [result.trial for result in results] == candidates
    ranking = [best.trial.family for best in search.best_by_family(results)]
    assert ranking[-1] == "naive Bayes"
    assert search.best_by_family(results)[0].score > 0.98
    origin = min(result.started for result in results)
    path = plots.save(plots.search_figure(results, origin, NUM_CPUS), tmp_path / "search.png")
    with Image.open(path) as image:
        assert image.width > 1200
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24) or []) > 50


def test_parameter_server_trains_the_same_weights(whipray: ModuleType, data: digits.Digits) -> None:
    train, test = digits.split(data)
    weights = parameter_server.train(train, SHORT_TRAINING)
    assert np.array_equal(weights, parameter_server.train_in_loop(train, SHORT_TRAINING))
    before = network.initial_weights(SHORT_TRAINING.shape)
    assert network.accuracy(before, test, SHORT_TRAINING.shape) < 0.3
    assert network.accuracy(weights, test, SHORT_TRAINING.shape) > 0.85


def test_asynchronous_training_can_be_replayed(whipray: ModuleType, data: digits.Digits) -> None:
    train, _ = digits.split(data)
    weights, journal = parameter_server.train_asynchronously(train, SHORT_TRAINING)
    for shard in range(SHORT_TRAINING.shards):
        steps = [push.step for push in journal if push.shard == shard]
        assert steps == list(range(SHORT_TRAINING.steps))
    assert np.array_equal(weights, parameter_server.replay(train, SHORT_TRAINING, journal))


def test_gradient_is_the_slope_of_the_loss(data: digits.Digits) -> None:
    shape = network.Shape(hidden=7)
    weights = network.initial_weights(shape)
    pixels, labels = data.pixels[:50], data.labels[:50]
    slope = network.gradient(weights, pixels, labels, shape)
    for index in np.flatnonzero(slope)[:: shape.size // 12]:
        step = np.zeros(shape.size)
        step[index] = 1e-6
        rise = network.loss(weights + step, pixels, labels, shape) - network.loss(
            weights - step, pixels, labels, shape
        )
        assert slope[index] == pytest.approx(rise / 2e-6, rel=1e-4, abs=1e-7)


def test_photo_pipeline_encodes_the_same_bytes(whipray: ModuleType) -> None:
    result = photo_pipeline.run(EDITS, in_flight=3)
    assert list(result.images) == EDITS
    assert result.images == photo_pipeline.run_in_loop(EDITS)
    assert result.most_in_flight == 3
    for edit, image in result.images.items():
        with Image.open(io.BytesIO(image)) as decoded:
            assert decoded.format is not None
            assert decoded.format.lower() == edit.format


def test_filters_do_what_they_are_called() -> None:
    pixels = photos.decode(photos.read("china.jpg"))
    assert pixels.shape == (427, 640, 3)

    def detail(name: str, amount: float) -> float:
        edit = photos.Edit("china.jpg", "whole", name, amount, "png")
        changed = photos.apply_filter(pixels, edit).astype(float)
        return float(np.abs(np.diff(changed, axis=1)).mean())

    plain = float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())
    assert detail("blur", 6.0) < detail("blur", 1.0) < plain < detail("sharpen", 0.8)
    half = photos.apply_filter(pixels, photos.Edit("china.jpg", "whole", "resize", 0.5, "png"))
    assert half.shape == (214, 320, 3)


def test_flow_is_bounded_and_complete(whipray: ModuleType) -> None:
    square = whipray.remote(lambda number: number * number)
    bounded = flow.BoundedFlow(square.remote, limit=4)
    taken = 0
    for number, value in bounded.run(range(50)):
        assert value == number * number
        taken += 1
    assert taken == 50
    assert bounded.most_in_flight == 4
    assert sorted(flow.as_finished([square.remote(3), square.remote(2)])) == [4, 9]


def test_command_runs_a_part_and_writes_its_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.experiment", "--part", "photos", "--num-cpus", "2"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "plain loop" in done.stdout
    assert len(list((tmp_path / "photos").iterdir())) == len(photos.all_edits())
    assert (tmp_path / "photos.png").stat().st_size > 100_000


def test_command_fails_on_a_wrong_answer(
    whipray: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(*_: object) -> Outcome:
        return Outcome("sums", "1 sum", 1.0, 1.0, (Check("two and two is five", 2 + 2 == 5),))

    whipray.shutdown()
    monkeypatch.setitem(__main__.PARTS, "search", wrong)
    assert __main__.main(["--part", "search", "--out", str(tmp_path)]) == 1
    assert "WRONG" in capsys.readouterr().out
