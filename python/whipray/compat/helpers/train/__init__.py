"""Ray's training library without Ray's files: only the question whether a training runs."""

from __future__ import annotations
