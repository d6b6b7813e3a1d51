"""What every comparison gets: a folder for the files that the programs make."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def files_of_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs know no fixtures, for Ray runs them too, without pytest."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
