"""What `python -m benchmarks instructions` makes of its counts; `make instructions` counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions_side import COUNTS

TOOLS = {"compiler": "GCC 12", "python": "CPython 3.11.7"}
RECORDED = {"put": 1000.0, "get": 500.0}


def test_no_excess_within_the_tolerance() -> None:
    assert instructions.excesses(RECORDED, {"put": 1050.0, "get": 100.0}) == []


def test_an_excess_says_which_and_by_how_much() -> None:
    (line,) = instructions.excesses(RECORDED, {"put": 1100.0, "get": 500.0})
    assert line == "put: 1100 instructions, 100 more than the recorded 1000 (+10.0 %)"


def test_operations_that_are_on_one_side_only_are_named() -> None:
    assert instructions.excesses(RECORDED, {"put": 1000.0, "drop": 3.0}) == [
        "get: recorded, but no longer counted",
        "drop: not recorded",
    ]


def test_differences_of_tools_are_named() -> None:
    assert instructions.differences(TOOLS, TOOLS) == []
    assert instructions.differences(TOOLS, {**TOOLS, "compiler": "GCC 13"}) == [
        "compiler: recorded with GCC 12, here GCC 13"
    ]


@pytest.mark.parametrize(
    ("tools", "put", "code"),
    [(TOOLS, 1000.0, 0), (TOOLS, 1051.0, 1), ({**TOOLS, "compiler": "GCC 13"}, 1051.0, 0)],
)
def test_only_the_sources_can_fail_the_check(
    tools: dict[str, str], put: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = {"toolchain": TOOLS, "instructions": RECORDED}
    assert instructions.check(recorded, {"put": put, "get": 500.0}, tools) == code
    said = capsys.readouterr().out
    assert ("--record" in said) == (code == 1)
    assert ("other tools" in said) == (tools != TOOLS)


def test_start_up_and_loops_are_taken_off() -> None:
    costs = dict.fromkeys(instructions.OPERATIONS, 700)
    costs |= {"filling loop": 100, "getting loop": 50}
    parts = {
        f"{name}/{count}": 12345 + cost * count for name, cost in costs.items() for count in COUNTS
    }
    counts = instructions.per_call(parts)
    assert counts["put"] == 600
    assert counts["get"] == 650
    assert counts["task run"] == 700


def test_parts_are_read_by_label_and_the_last_of_a_label_wins(tmp_path: Path) -> None:
    def part(name: str, label: str, total: int) -> None:
        text = f"version: 1\n\ndesc: Trigger: Client Request: {label}\n\ntotals: {total}\n"
        (tmp_path / name).write_text(text)

    part("counts.7.2-01", "put/1000", 20)
    part("counts.7.10-01", "put/1000", 30)
    part("counts.7.3-02", "get/1000", 99)  # another thread
    (tmp_path / "counts.7-01").write_text("desc: Trigger: Program termination\ntotals: 5\n")
    assert instructions.read_parts(tmp_path) == {"put/1000": 30}


def test_every_recorded_count_belongs_to_an_operation() -> None:
    recorded = instructions.load()
    assert set(recorded["instructions"]) == set(instructions.OPERATIONS)
    assert set(recorded["toolchain"]) == {"compiler", "python", "libc", "architecture"}
