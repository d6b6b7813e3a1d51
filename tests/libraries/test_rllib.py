"""Ray's library for reinforcement learning: environments in actors, PyTorch for the learner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def config(ray: Any) -> Any:
    """PPO on CartPole with two runners, small enough for a few seconds per iteration."""
    from ray.rllib.algorithms.ppo import PPOConfig

    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_cpus_per_env_runner=0.5)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
    )


def test_ppo_trains_saves_and_restores(config: Any, tmp_path: Path) -> None:
    from ray.rllib.algorithms.algorithm import Algorithm

    algorithm = config.build_algo()
    try:
        pids = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: os.getpid(), local_env_runner=False
        )
        assert len(set(pids)) == 2
        for iteration in range(1, 4):
            result = algorithm.train()
            assert result["training_iteration"] == iteration
            assert result["env_runners"]["num_env_steps_sampled"] == 200
            assert result["fault_tolerance"]["num_healthy_workers"] == 2
        assert result["env_runners"]["episode_return_mean"] > 0
        algorithm.save_to_path(tmp_path / "checkpoint")
    finally:
        algorithm.stop()
    restored = Algorithm.from_checkpoint(tmp_path / "checkpoint")
    try:
        assert restored.iteration == 3
        assert restored.train()["training_iteration"] == 4
    finally:
        restored.stop()


def test_a_runner_that_dies_is_replaced(config: Any) -> None:
    """It is noticed by the call that it died in; see moving-from-ray on calls that wait."""
    algorithm = config.copy(copy_frozen=False).build_algo()
    try:
        before = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: os.getpid(), local_env_runner=False
        )
        algorithm.env_runner_group.foreach_env_runner(
            lambda runner: os._exit(1), local_env_runner=False, remote_worker_ids=[1]
        )
        assert algorithm.env_runner_group.num_healthy_remote_workers() == 1
        while True:
            state = algorithm.train()["fault_tolerance"]
            if state["num_healthy_workers"] == 2:
                break
        assert state["num_remote_worker_restarts"] == 1
        after = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: os.getpid(), local_env_runner=False
        )
        assert before[0] not in after and before[1] in after
    finally:
        algorithm.stop()
