"""docs/internals/segment-layout.md says what csrc/shm/layout.h defines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs/internals/segment-layout.md").read_text()
DEFINES = dict(
    re.findall(r"^#define (WR_\w+) (\d+)u?\b", (ROOT / "csrc/shm/layout.h").read_text(), re.M)
)
TABLES = {
    "process table": "WR_MAX_PROCS",
    "actors": "WR_MAX_ACTORS",
    "pools": "WR_MAX_POOLS",
    "shapes": "WR_MAX_SHAPES",
    "resources": "WR_MAX_RESOURCES",
    "groups": "WR_MAX_GROUPS",
    "bundles": "WR_MAX_BUNDLES",
    "record chunk table": "WR_REC_CHUNKS",
    "record freed counters": "WR_REC_CHUNKS",
    "exports": "WR_MAX_EXPORTS",
}
PAGE = 4096


def number(text: str) -> int:
    return int(text.replace(",", ""), 0)


def areas() -> dict[str, list[str]]:
    """The cells of each row of the memory map, by its name."""
    section = DOC.partition("## Memory map")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
    return {row[0].strip(): [cell.strip() for cell in row] for row in rows[2:]}


def test_the_version() -> None:
    assert f"version {DEFINES['WR_SEGMENT_VERSION']}." in DOC


def test_the_entries_of_the_tables() -> None:
    shown = {name: [number(n) for n in areas()[name][3].split(" of ")] for name in TABLES}
    assert {name: n for name, (n, _) in shown.items()} == {
        name: int(DEFINES[define]) for name, define in TABLES.items()
    }
    for name, (n, size) in shown.items():
        assert number(areas()[name][2]) == n * size, name


def test_each_area_begins_where_the_one_before_it_ends() -> None:
    at, rows = 0, list(areas().values())
    for name, offset, size, *_ in rows[:-1]:
        unit = 1 << 16 if name == "records" else PAGE
        at = -(-at // unit) * unit
        assert number(offset) == at, name
        at += number(size)
    assert number(rows[-1][1]) == at
    assert f"{at:,} in all" in rows[-1]
