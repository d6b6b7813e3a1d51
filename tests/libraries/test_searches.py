"""Searches that choose the next trials themselves: Optuna, HyperOpt, FLAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def objective(config: dict[str, Any]) -> dict[str, float]:
    return {"score": (config["x"] - 2) ** 2 + config["y"]}


@pytest.mark.parametrize(
    ("module", "name"), [("optuna", "OptunaSearch"), ("hyperopt", "HyperOptSearch")]
)
def test_search_of_tune(ray: Any, tmp_path: Path, module: str, name: str) -> None:
    import importlib

    from ray import tune

    search = getattr(importlib.import_module(f"ray.tune.search.{module}"), name)
    results = tune.Tuner(
        objective,
        param_space={"x": tune.uniform(-5, 5), "y": tune.choice([0, 1, 2])},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="min",
            num_samples=6,
            max_concurrent_trials=2,
            search_alg=search(),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert len(results) == 6 and not results.errors
    best = results.get_best_result()
    assert best.metrics["score"] == min(result.metrics["score"] for result in results)
    assert len({result.config["x"] for result in results}) == 6


def test_flaml(ray: Any) -> None:
    from flaml import tune

    found = tune.run(
        objective,
        config={"x": tune.uniform(-5, 5), "y": tune.choice([0, 1, 2])},
        metric="score",
        mode="min",
        num_samples=6,
        use_ray=True,
        resources_per_trial={"cpu": 1},
        verbose=0,
    )
    assert len(found.trials) == 6
    assert found.best_result["score"] == objective(found.best_config)["score"]
