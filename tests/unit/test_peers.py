"""The table of `python -m benchmarks peers`, and the forms of the pools that need nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import machine
from benchmarks.peers import table, work
from benchmarks.peers.pools import POOLS
from benchmarks.peers.rows import ROWS
from benchmarks.report import Results
from benchmarks.timing import Plan

START, CALLS = ROWS[0], next(row for row in ROWS if row.key == "calls")


def ok(**values: float) -> dict[str, Any]:
    return {"status": "ok", "values": {name: [value] for name, value in values.items()}}


@pytest.fixture
def results() -> Results:
    found = Results(machine.identity(), Plan().to_json())
    here = {"versions": {"python": "3.11.7"}, "unavailable": ""}
    found.data["sides"] = {
        "whipray": here,
        "mpire": {"versions": {"python": "3.11.7", "mpire": "2.10"}, "unavailable": ""},
        "loky": {"versions": {}, "unavailable": "not installed for python3"},
    }
    for side, rate in (("whipray", 500.0), (table.beside("mpire"), 400.0), ("mpire", 100.0)):
        found.add(CALLS, side, ok(rate=rate))
    found.add(START, "mpire", {"status": "failed", "reason": "it broke"})
    found.add(START, "whipray", ok(p50=20.0))
    return found


def test_a_cell_has_the_ratio_to_the_neighbour(results: Results) -> None:
    heading, _, calls = table.lines(results)
    assert heading == ["row", "unit", "whipray", "mpire", "loky"]
    assert calls[1:] == ["calls/s", "500", "100 (4.00x)", "not installed"]


def test_what_has_no_value_says_why(results: Results) -> None:
    text = table.as_markdown(results)
    assert "| ms | 20.0 | failed | not installed |" in text
    assert "start to first result on mpire: failed: it broke" in text
    assert "mpire: Python 3.11.7, mpire 2.10" in text
    assert "loky: not installed for python3" in table.as_text(results)


def test_the_last_chunk_may_be_short() -> None:
    pool = POOLS["ProcessPoolExecutor"](2)
    assert pool.chunk(10_000) == 1250
    assert pool.chunk(9) == 2
    assert work.noop_chunk(range(8, 9)) == [b"ok"]
