"""Growing and shrinking of clusters; there is one machine."""

from __future__ import annotations
