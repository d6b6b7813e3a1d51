"""Helpers that Ray's packages share."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__)
