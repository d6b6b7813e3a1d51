"""Wishes to an autoscaler."""

from __future__ import annotations

from typing import Any


def request_resources(
    num_cpus: int | None = None,
    bundles: list[dict[str, float]] | None = None,
    bundle_label_selectors: list[dict[str, Any]] | None = None,
) -> None:
    """A hint that nobody takes, as on any Ray cluster that can not grow; TypeError if malformed."""
    if num_cpus is not None and not isinstance(num_cpus, int):
        raise TypeError("num_cpus should be of type int.")
    if bundles is None:
        return
    if not isinstance(bundles, list) or not all(isinstance(bundle, dict) for bundle in bundles):
        raise TypeError("bundles should be a list of dicts")
