"""More of Ray's search library: classes with checkpoints, schedulers, stopping, restoring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tune(ray: Any) -> Any:
    from ray import tune

    return tune


def run_config(tune: Any, path: Path, **more: Any) -> Any:
    return tune.RunConfig(storage_path=str(path), name="run", verbose=0, **more)


def checked_trainable(tune: Any) -> Any:
    class Climbs(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.height = 0.0
            self.rate = config["rate"]

        def step(self) -> dict[str, float]:
            self.height += self.rate
            return {"height": self.height}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / "height.json").write_text(json.dumps(self.height))

        def load_checkpoint(self, checkpoint_dir: str) -> None:
            self.height = json.loads((Path(checkpoint_dir) / "height.json").read_text())

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.rate = new_config["rate"]
            return True

    return Climbs


def test_class_with_checkpoints(tune: Any, tmp_path: Path) -> None:
    results = tune.Tuner(
        checked_trainable(tune),
        param_space={"rate": tune.grid_search([1.0, 2.0])},
        tune_config=tune.TuneConfig(metric="height", mode="max"),
        run_config=run_config(
            tune,
            tmp_path,
            stop={"training_iteration": 4},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2, num_to_keep=1),
        ),
    ).fit()
    assert not results.errors
    best = results.get_best_result()
    assert best.metrics["height"] == 8.0
    with best.checkpoint.as_directory() as folder:
        assert json.loads((Path(folder) / "height.json").read_text()) == 8.0
    frame = results.get_dataframe()
    assert sorted(frame["height"]) == [4.0, 8.0]


def steps_with_checkpoints(config: dict[str, Any]) -> None:
    import tempfile

    from ray import tune

    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "step.json").read_text()) + 1
    for step in range(start, 5):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "step.json").write_text(json.dumps(step))
            tune.report(
                {"step": step, "started_at": start},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )
        mark = Path(config["marks"]) / "failed"
        if config["fails"] and step == 2 and not mark.exists():
            mark.touch()
            raise RuntimeError("once")


def test_function_goes_on_from_its_checkpoint(tune: Any, tmp_path: Path) -> None:
    results = tune.Tuner(
        steps_with_checkpoints,
        param_space={"fails": True, "marks": str(tmp_path)},
        run_config=run_config(tune, tmp_path, failure_config=tune.FailureConfig(max_failures=1)),
    ).fit()
    assert not results.errors
    assert results[0].metrics["step"] == 4 and results[0].metrics["started_at"] == 3


def test_population_based_training(tune: Any, tmp_path: Path) -> None:
    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"rate": [0.5, 1.0, 4.0]},
        quantile_fraction=0.5,
    )
    results = tune.Tuner(
        checked_trainable(tune),
        param_space={"rate": tune.grid_search([0.5, 4.0])},
        tune_config=tune.TuneConfig(
            metric="height", mode="max", scheduler=scheduler, reuse_actors=True
        ),
        run_config=run_config(tune, tmp_path, stop={"training_iteration": 8}),
    ).fit()
    assert not results.errors and len(results) == 2
    assert results.get_best_result().metrics["height"] >= 16.0


@pytest.mark.parametrize("name", ["ASHAScheduler", "HyperBandScheduler", "MedianStoppingRule"])
def test_schedulers(tune: Any, tmp_path: Path, name: str) -> None:
    arguments = {"MedianStoppingRule": {"grace_period": 1}}.get(name, {"max_t": 9})
    results = tune.Tuner(
        checked_trainable(tune),
        param_space={"rate": tune.grid_search([1.0, 2.0, 3.0, 4.0])},
        tune_config=tune.TuneConfig(
            metric="height",
            mode="max",
            scheduler=getattr(tune.schedulers, name)(**arguments),
            max_concurrent_trials=2,
        ),
        run_config=run_config(tune, tmp_path, stop={"training_iteration": 9}),
    ).fit()
    assert not results.errors
    assert results.get_best_result().config["rate"] == 4.0


def test_stoppers(tune: Any, tmp_path: Path) -> None:
    def tall(trial_id: str, result: dict[str, Any]) -> bool:
        return bool(result["height"] >= 3)

    results = tune.Tuner(
        checked_trainable(tune),
        param_space={"rate": 1.0},
        run_config=run_config(tune, tmp_path, stop=tall),
    ).fit()
    assert results[0].metrics["training_iteration"] == 3


def test_tune_run_and_parameters(tune: Any, tmp_path: Path) -> None:
    def objective(config: dict[str, Any], data: list[int] | None = None) -> None:
        assert data is not None
        tune.report({"score": sum(data) * config["x"]})

    analysis = tune.run(
        tune.with_parameters(objective, data=list(range(1000))),
        config={"x": tune.grid_search([1, 2])},
        metric="score",
        mode="max",
        storage_path=str(tmp_path),
        verbose=0,
    )
    assert analysis.best_config == {"x": 2}
    assert analysis.best_result["score"] == 999 * 1000


def test_resources_of_trials(ray: Any, tune: Any, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> None:
        import ray

        group = ray.util.get_current_placement_group()
        tune.report({"bundles": len(group.bundle_specs) if group else 0})

    factory = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 0.5}])
    results = tune.Tuner(
        tune.with_resources(objective, factory), run_config=run_config(tune, tmp_path)
    ).fit()
    assert not results.errors and results[0].metrics["bundles"] == 2


def test_what_is_logged(tune: Any, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> dict[str, int]:
        return {"score": 7}

    seen: list[int] = []

    class Listens(tune.Callback):  # type: ignore[misc]
        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
        ) -> None:
            seen.append(result["score"])

    results = tune.Tuner(
        objective, run_config=run_config(tune, tmp_path, callbacks=[Listens()])
    ).fit()
    assert seen == [7]
    lines = (Path(results[0].path) / "result.json").read_text().splitlines()
    assert json.loads(lines[0])["score"] == 7
    assert (Path(results[0].path) / "progress.csv").exists()


def test_restored_experiment(tune: Any, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> None:
        if config["x"] == 2 and not (tmp_path / "second").exists():
            raise RuntimeError("not yet")
        tune.report({"score": config["x"]})

    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.grid_search([1, 2])},
        run_config=run_config(tune, tmp_path),
    )
    assert len(tuner.fit().errors) == 1
    (tmp_path / "second").touch()
    path = str(tmp_path / "run")
    assert tune.Tuner.can_restore(path)
    results = tune.Tuner.restore(path, trainable=objective, resume_errored=True).fit()
    assert not results.errors and sorted(r.metrics["score"] for r in results) == [1, 2]


def test_a_trial_whose_process_dies(tune: Any, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> None:
        import os

        mark = tmp_path / "died"
        if not mark.exists():
            mark.touch()
            os._exit(1)
        tune.report({"score": 1})

    results = tune.Tuner(
        objective,
        run_config=run_config(tune, tmp_path, failure_config=tune.FailureConfig(max_failures=1)),
    ).fit()
    assert not results.errors and results[0].metrics["score"] == 1


def test_concurrent_search(tune: Any, tmp_path: Path) -> None:
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.basic_variant import BasicVariantGenerator

    results = tune.Tuner(
        lambda config: {"score": config["x"]},
        param_space={"x": tune.randint(0, 10)},
        tune_config=tune.TuneConfig(
            num_samples=6, search_alg=BasicVariantGenerator(max_concurrent=1, random_state=3)
        ),
        run_config=run_config(tune, tmp_path),
    ).fit()
    assert len(results) == 6 and not results.errors
    assert ConcurrencyLimiter is not None
