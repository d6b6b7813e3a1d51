"""A session with two CPUs and a custom resource, and a watchdog for every test."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator

import pytest

import whipray

WATCHDOG_SECONDS = int(os.environ.get("WHIPRAY_CRASH_SECONDS", "600"))


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=2, resources={"lamp": 3}, log_to_driver=False)
    yield
    whipray.shutdown()
