"""Which Ray this stands for."""

from __future__ import annotations

from whipray.compat import VERSION

version = VERSION
commit = ""
