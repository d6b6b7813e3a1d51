"""Ray's own library for searching: its Python files on Whipray's actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tune(ray: Any) -> Any:
    from ray import tune

    return tune


def objective(config: dict[str, Any]) -> None:
    from ray import tune

    for step in range(3):
        tune.report({"score": config["x"] ** 2 + config["y"] * step})


def fit(tune: Any, path: Path, trainable: Any, space: dict[str, Any], **config: Any) -> Any:
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", **config),
        run_config=tune.RunConfig(storage_path=str(path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    return results


def test_grid_search(tune: Any, tmp_path: Path) -> None:
    space = {"x": tune.grid_search([1, 2, 3]), "y": 1}
    results = fit(tune, tmp_path, objective, space)
    assert sorted(result.metrics["score"] for result in results) == [3, 6, 11]
    assert results.get_best_result().config == {"x": 3, "y": 1}


def test_samples_and_a_scheduler(tune: Any, tmp_path: Path) -> None:
    from ray.tune.schedulers import ASHAScheduler

    space = {"x": tune.uniform(0, 1), "y": tune.choice([0])}
    results = fit(tune, tmp_path, objective, space, num_samples=4, scheduler=ASHAScheduler(max_t=3))
    assert len(results) == 4
    for result in results:
        assert result.metrics["score"] == pytest.approx(result.config["x"] ** 2)


def test_failed_trials_are_reported(tune: Any, tmp_path: Path) -> None:
    def fails(config: dict[str, Any]) -> None:
        raise RuntimeError("on purpose")

    tuner = tune.Tuner(fails, run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0))
    results = tuner.fit()
    assert len(results.errors) == 1 and "on purpose" in str(results.errors[0])
