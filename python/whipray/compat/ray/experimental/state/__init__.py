"""The former place of `ray.util.state`."""

from __future__ import annotations
