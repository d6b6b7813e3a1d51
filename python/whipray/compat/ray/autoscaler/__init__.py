"""Growing and shrinking of clusters; there is one machine."""

from __future__ import annotations

from whipray.compat.facade import show

show(__name__)
