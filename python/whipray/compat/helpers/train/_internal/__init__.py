"""Parts of Ray's training library."""

from __future__ import annotations
