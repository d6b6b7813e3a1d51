"""Memory of the store that nobody uses any more goes back to the system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import whipray
from tests.compat.helpers import wait_until
from tests.integration.records import wait_until_whole
from whipray import _core
from whipray.util import shared_arrays

DAEMON = 1  # enum wr_role
MIB = 1 << 20


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=1, log_to_driver=False)
    yield
    whipray.shutdown()


def segment_bytes() -> int:
    """What the system has given to the session's memory."""
    (pid,) = (row["pid"] for row in _core.procs() if row["role"] == DAEMON)
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:whipray" in os.readlink(fd):
            return os.stat(fd).st_blocks * 512
    raise AssertionError("the daemon has no segment")


def test_freed_memory_goes_back_once_the_session_is_quiet(session: None) -> None:
    array = np.arange(50 * MIB // 8)
    kept = whipray.put(array)
    for _ in range(2):
        refs = [whipray.put(array) for _ in range(6)]
        assert segment_bytes() >= 7 * array.nbytes
        del refs
        wait_until(lambda: segment_bytes() < 3 * array.nbytes)
        assert np.array_equal(whipray.get(kept), array)
    wait_until_whole()


def test_memory_of_shared_arrays_goes_back(session: None) -> None:
    for _ in range(2):
        with shared_arrays():
            arrays = [np.arange(50 * MIB // 8) for _ in range(6)]
        refs = [whipray.put(array) for array in arrays[:3]]
        assert segment_bytes() >= 300 * MIB
        del arrays
        assert segment_bytes() >= 150 * MIB
        value = whipray.get(refs[2])
        assert int(value[-1]) == 50 * MIB // 8 - 1
        del refs, value
        wait_until(lambda: segment_bytes() < 70 * MIB)  # a reserve stays
    wait_until_whole()
