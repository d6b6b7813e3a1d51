"""Dask collections computed by tasks.

Importing this module makes persist() of Dask keep results as references under this scheduler.
"""

from __future__ import annotations

import warnings
from typing import Any

import dask
from dask.base import DaskMethodsMixin

from whipray.util.dask.callbacks import (
    ProgressBarCallback,
    RayDaskCallback,
    local_ray_callbacks,
    unpack_ray_callbacks,
)
from whipray.util.dask.scheduler import (
    disable_dask_on_ray,
    enable_dask_on_ray,
    ray_dask_get,
    ray_dask_get_sync,
)

__all__ = [
    "ProgressBarCallback",
    "RayDaskCallback",
    "dataframe_optimize",
    "disable_dask_on_ray",
    "enable_dask_on_ray",
    "local_ray_callbacks",
    "ray_dask_get",
    "ray_dask_get_sync",
    "ray_dask_persist",
    "unpack_ray_callbacks",
]

_persist, _persist_method = dask.persist, DaskMethodsMixin.persist


def ray_dask_persist(*args: Any, **kwargs: Any) -> Any:
    """dask.persist, whose collections hold references to the results."""
    return _persist(*args, **{"ray_persist": True, **kwargs})


def _ray_persist_method(self: Any, **kwargs: Any) -> Any:
    return _persist_method(self, **{"ray_persist": True, **kwargs})


def dataframe_optimize(dsk: Any, keys: Any, **kwargs: Any) -> None:
    """Nothing is rewritten: Dask itself makes a graph of a shuffle that fits, since 2025.1."""
    warnings.warn(
        "dataframe_optimize() does nothing: shuffles are optimized by Dask itself.", stacklevel=2
    )


dask.persist = ray_dask_persist
DaskMethodsMixin.persist = _ray_persist_method
