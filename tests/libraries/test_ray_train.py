"""Ray's training library: groups of workers, PyTorch's processes among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def train(ray: Any) -> Any:
    from ray import train

    return train


def run_config(train: Any, path: Path, **more: Any) -> Any:
    return train.RunConfig(storage_path=str(path), name="run", **more)


def test_every_worker_runs_the_loop(train: Any, tmp_path: Path) -> None:
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    def loop(config: dict[str, Any]) -> None:
        from ray import train

        context = train.get_context()
        assert context.get_world_size() == 2
        mark = Path(config["marks"]) / f"rank{context.get_world_rank()}"
        mark.write_text(str(context.get_local_rank()))
        for step in range(3):
            train.report({"step": step, "rank": context.get_world_rank()})

    result = DataParallelTrainer(
        loop,
        train_loop_config={"marks": str(tmp_path)},
        scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=run_config(train, tmp_path),
    ).fit()
    assert result.error is None
    assert (tmp_path / "rank0").read_text() == "0" and (tmp_path / "rank1").read_text() == "1"


def test_failures_are_told(train: Any, tmp_path: Path) -> None:
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    def loop() -> None:
        raise ValueError("on purpose")

    trainer = DataParallelTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
        run_config=run_config(train, tmp_path),
    )
    with pytest.raises(Exception, match="on purpose"):
        trainer.fit()


def torch_loop(config: dict[str, Any]) -> None:
    import tempfile

    import ray.train.torch
    import torch
    import torch.distributed
    from ray import train

    torch.manual_seed(0)
    assert torch.distributed.get_world_size() == 2
    model = ray.train.torch.prepare_model(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shard = train.get_dataset_shard("train")
    for _epoch in range(config["epochs"]):
        losses = []
        for batch in shard.iter_torch_batches(batch_size=16, dtypes=torch.float32):
            loss = ((model(batch["x"][:, None]) - batch["y"][:, None]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if train.get_context().get_world_rank() == 0:
                (Path(folder) / "loss.json").write_text(json.dumps(losses[-1]))
                checkpoint = train.Checkpoint.from_directory(folder)
            train.report({"loss": losses[-1]}, checkpoint=checkpoint)


def test_pytorch_on_two_workers(ray: Any, train: Any, tmp_path: Path) -> None:
    import ray.data
    from ray.train.torch import TorchTrainer

    rows = [{"x": i / 64, "y": 3 * i / 64 + 1} for i in range(64)]
    result = TorchTrainer(
        torch_loop,
        train_loop_config={"epochs": 30},
        scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        datasets={"train": ray.data.from_items(rows)},
        run_config=run_config(
            train, tmp_path, checkpoint_config=train.CheckpointConfig(num_to_keep=2)
        ),
    ).fit()
    assert result.error is None and result.metrics["loss"] < 0.5
    with result.checkpoint.as_directory() as folder:
        assert json.loads((Path(folder) / "loss.json").read_text()) == result.metrics["loss"]
