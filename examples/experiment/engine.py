"""Starting Whipray the way the experiment needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import whipray

# Loaded once, in the process that workers are forked from: a new worker has them at once.
PRELOAD = [
    "examples.experiment.search",
    "examples.experiment.parameter_server",
    "examples.experiment.photo_pipeline",
]


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def running(num_cpus: int) -> Iterator[None]:
    """Whipray on this machine for the length of a `with` block."""
    whipray.init(num_cpus=num_cpus, preload=PRELOAD)
    try:
        yield
    finally:
        whipray.shutdown()
