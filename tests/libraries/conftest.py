"""One session per test file; warnings of other people's libraries are their own matter."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray.compat

SECONDS = 900
ROOT = str(Path(__file__).resolve().parents[2])
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (ROOT, os.environ.get("PYTHONPATH")) if part
)
whipray.compat.install()
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore")


@pytest.fixture(autouse=True)
def _time_limit() -> Iterator[None]:
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """`ray`, which is Whipray, with a session of two CPUs."""
    import ray

    assert "whipray" in str(ray.__file__)
    ray.init(num_cpus=2, log_to_driver=False)
    yield ray
    ray.shutdown()
