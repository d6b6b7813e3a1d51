"""Trainers of other libraries on ray.train: XGBoost and Lightning, and what outlives a worker."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest


@pytest.fixture(scope="module")
def two(ray: Any) -> Any:
    """Two workers that leave room for the processes that feed and control them."""
    from ray.train import ScalingConfig

    return ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5})


def test_xgboost(ray: Any, two: Any, tmp_path: Path) -> None:
    from ray.train import RunConfig
    from ray.train.xgboost import RayTrainReportCallback, XGBoostTrainer

    columns = pandas.DataFrame(np.random.default_rng(0).random((400, 3)), columns=list("abc"))
    columns["y"] = (columns["a"] + columns["b"] > 1).astype(int)

    def loop() -> None:
        import xgboost
        from ray import train

        shard = train.get_dataset_shard("train").materialize().to_pandas()
        matrix = xgboost.DMatrix(shard.drop(columns="y"), label=shard["y"])
        parameters = {"objective": "binary:logistic", "nthread": 1}
        callbacks = [RayTrainReportCallback()]
        xgboost.train(parameters, matrix, 5, evals=[(matrix, "train")], callbacks=callbacks)

    result = XGBoostTrainer(
        loop,
        scaling_config=two,
        datasets={"train": ray.data.from_pandas(columns).repartition(4)},
        run_config=RunConfig(storage_path=str(tmp_path)),
    ).fit()
    assert result.error is None and result.metrics["train-logloss"] < 0.5
    assert RayTrainReportCallback.get_model(result.checkpoint).num_boosted_rounds() == 5


def test_lightning(ray: Any, two: Any, tmp_path: Path) -> None:
    from ray.train import RunConfig
    from ray.train.torch import TorchTrainer

    def loop() -> None:
        import lightning.pytorch as lightning
        import torch
        from ray.train import lightning as on_ray

        class Model(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(3, 1)

            def training_step(self, batch: Any, index: int) -> Any:
                loss = (self.layer(batch[0]) ** 2).mean()
                self.log("loss", loss)
                return loss

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            strategy=on_ray.RayDDPStrategy(),
            plugins=[on_ray.RayLightningEnvironment()],
            callbacks=[on_ray.RayTrainReportCallback()],
            enable_progress_bar=False,
            enable_checkpointing=False,
            logger=False,
        )
        rows = torch.utils.data.TensorDataset(torch.randn(32, 3))
        loader = torch.utils.data.DataLoader(rows, batch_size=8)
        on_ray.prepare_trainer(trainer).fit(Model(), loader)

    run = RunConfig(storage_path=str(tmp_path))
    result = TorchTrainer(loop, scaling_config=two, run_config=run).fit()
    assert result.error is None and result.metrics["epoch"] == 1
    assert result.checkpoint is not None


def test_training_goes_on_behind_a_checkpoint(ray: Any, two: Any, tmp_path: Path) -> None:
    from ray import train
    from ray.train.torch import TorchTrainer

    def loop(config: dict[str, Any]) -> None:
        from ray import train

        first, before = 0, train.get_checkpoint()
        if before is not None:
            with before.as_directory() as path:
                first = json.loads((Path(path) / "state.json").read_text())["epoch"] + 1
        rank = train.get_context().get_world_rank()
        for epoch in range(first, 4):
            if epoch == 2 and rank == 1 and not os.path.exists(config["mark"]):
                Path(config["mark"]).touch()
                os._exit(1)
            with tempfile.TemporaryDirectory() as path:
                (Path(path) / "state.json").write_text(json.dumps({"epoch": epoch}))
                kept = train.Checkpoint.from_directory(path) if rank == 0 else None
                train.report({"epoch": epoch, "first": first}, checkpoint=kept)

    result = TorchTrainer(
        loop,
        train_loop_config={"mark": str(tmp_path / "mark")},
        scaling_config=two,
        run_config=train.RunConfig(
            storage_path=str(tmp_path), failure_config=train.FailureConfig(max_failures=2)
        ),
    ).fit()
    assert result.error is None and (tmp_path / "mark").exists()
    assert result.metrics["epoch"] == 3 and result.metrics["first"] <= 2
