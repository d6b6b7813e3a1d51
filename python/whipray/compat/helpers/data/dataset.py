"""`ray.data.dataset`."""

from __future__ import annotations

from ray.data import Dataset, MaterializedDataset

__all__ = ["Dataset", "MaterializedDataset"]
