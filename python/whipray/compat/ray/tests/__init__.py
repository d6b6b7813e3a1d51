"""`ray.tests`: the fixtures that Ray's own tests and those of its users share."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__)
