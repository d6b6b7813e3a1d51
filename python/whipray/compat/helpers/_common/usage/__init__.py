"""Usage statistics, of which there are none."""

from __future__ import annotations
