"""Private modules of Ray that libraries import; those of them that make sense on one machine."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__)
