"""Fixtures of Ray's test suite for one machine: `from ray.tests.conftest import *`.

A fixture that starts a session takes arguments for init by indirect parametrization, and gives the
test the session's context.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
from ray._common.test_utils import wait_for_condition

__all__ = [
    "maybe_setup_external_redis",
    "propagate_logs",
    "ray_start_1_cpu",
    "ray_start_2_cpus",
    "ray_start_10_cpus",
    "ray_start_10_cpus_shared",
    "ray_start_cluster",
    "ray_start_no_cpu",
    "ray_start_object_store_memory",
    "ray_start_regular",
    "ray_start_regular_shared",
    "ray_start_regular_shared_2_nodes",
    "ray_start_shared_local_modes",
    "ray_start_with_dashboard",
    "set_env_var",
    "shutdown_only",
    "tmp_working_dir",
    "wait_for_condition",
]


def get_default_fixure_system_config() -> dict[str, Any]:
    """Private configuration: none."""
    return {}


def get_default_fixture_ray_kwargs() -> dict[str, Any]:
    """What the fixtures start a session with."""
    return {"num_cpus": 1, "object_store_memory": 150 * 1024 * 1024}


@contextmanager
def _ray_start(**kwargs: Any) -> Iterator[Any]:
    """A session for the block."""
    context = ray.init("local", **{**get_default_fixture_ray_kwargs(), **kwargs})
    try:
        yield context.address_info
    finally:
        ray.shutdown()


@contextmanager
def set_env_var(name: str, value: str) -> Iterator[None]:
    """An environment variable for the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _starting(name: str, scope: Any = "function", **defaults: Any) -> Callable[..., Any]:
    @pytest.fixture(name=name, scope=scope)
    def start(request: pytest.FixtureRequest) -> Iterator[Any]:
        with _ray_start(**{**defaults, **getattr(request, "param", {})}) as info:
            yield info

    return start


ray_start_regular = _starting("ray_start_regular")
ray_start_regular_shared = _starting("ray_start_regular_shared", "module")
ray_start_regular_with_external_redis = _starting("ray_start_regular_with_external_redis")
ray_start_shared_local_modes = _starting("ray_start_shared_local_modes", "module")
ray_start_with_dashboard = _starting("ray_start_with_dashboard", include_dashboard=False)
ray_start_no_cpu = _starting("ray_start_no_cpu", num_cpus=0)
ray_start_1_cpu = _starting("ray_start_1_cpu", num_cpus=1)
ray_start_2_cpus = _starting("ray_start_2_cpus", num_cpus=2)
ray_start_10_cpus = _starting("ray_start_10_cpus", num_cpus=10)
ray_start_10_cpus_shared = _starting("ray_start_10_cpus_shared", "module", num_cpus=10)
ray_start_object_store_memory = _starting(
    "ray_start_object_store_memory", num_cpus=1, object_store_memory=150 * 1024 * 1024
)


@pytest.fixture
def shutdown_only() -> Iterator[None]:
    """Ends the session that the test starts."""
    yield
    ray.shutdown()


@pytest.fixture
def ray_start_cluster() -> None:
    """Skips: several nodes on one machine are not emulated."""
    pytest.skip("needs several nodes, which Whipray does not emulate")


@pytest.fixture
def ray_start_regular_shared_2_nodes() -> None:
    """Skips, as `ray_start_cluster`."""
    pytest.skip("needs several nodes, which Whipray does not emulate")


@pytest.fixture
def maybe_setup_external_redis() -> None:
    """Nothing to set up."""


@pytest.fixture
def propagate_logs() -> Iterator[None]:
    """Lets pytest's caplog see the records of Ray's logger."""
    logger = logging.getLogger("ray")
    before, logger.propagate = logger.propagate, True
    yield
    logger.propagate = before


@pytest.fixture
def tmp_working_dir(tmp_path: Any) -> str:
    """A folder with a module to import and a file to read."""
    (tmp_path / "hello").write_text("world")
    (tmp_path / "test_module.py").write_text("def one():\n    return 1\n")
    return str(tmp_path)
