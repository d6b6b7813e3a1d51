"""Finds the files that the rules of this directory are about."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", "build", "dist", "__pycache__", "results"}


def files(*tops: str, suffixes: tuple[str, ...]) -> list[Path]:
    """All files with one of these suffixes below the directories (or the files) named, in order."""
    found: set[Path] = set()
    for top in tops:
        base = ROOT / top
        candidates = [base] if base.is_file() else base.rglob("*")
        found.update(p for p in candidates if p.is_file() and p.suffix in suffixes)
    return sorted(p for p in found if not SKIPPED.intersection(p.relative_to(ROOT).parts))


def c_files() -> list[Path]:
    return files("csrc", suffixes=(".c", ".h"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
