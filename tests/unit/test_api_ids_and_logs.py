"""Ids, the folding of repeated log lines, and their prefix."""

from __future__ import annotations

import io
import pickle

import pytest

from whipray._private import ids, log_dedup, monitor
from whipray._private.log_dedup import Deduplicator, Line, Shown

KINDS = [
    ids.UniqueID,
    ids.NodeID,
    ids.WorkerID,
    ids.FunctionID,
    ids.ActorClassID,
    ids.JobID,
    ids.TaskID,
    ids.ActorID,
    ids.PlacementGroupID,
]


@pytest.mark.parametrize("kind", KINDS)
def test_id_round_trips(kind: type[ids.BaseID]) -> None:
    one = kind.from_random()
    assert kind.from_hex(one.hex()) == one
    assert kind(one.binary()) == one
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(one.binary()) == kind.size()
    assert len({one, kind(one.binary()), kind.from_random()}) == 2
    assert repr(one) == f"{kind.__name__}({one.hex()})"
    assert kind.nil().is_nil()
    assert not one.is_nil()


def test_ids_of_other_kinds_are_not_equal() -> None:
    data = bytes(28)
    assert ids.NodeID(data) != ids.WorkerID(data)
    assert ids.NodeID(data) != data


@pytest.mark.parametrize("wrong", [b"", b"x" * 5, b"x" * 29])
def test_wrong_length_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="length"):
        ids.NodeID(wrong)


def test_task_names_its_job() -> None:
    assert ids.TaskID(bytes(20) + b"\x05\0\0\0").job_id() == ids.JobID.from_int(5)
    assert ids.JobID.from_int(5).int() == 5


def line(text: str, pid: int = 1) -> Line:
    return Line("work", pid, False, text)


def texts(shown: list[Shown]) -> list[tuple[str, int]]:
    return [(item.line.text, item.repeats) for item in shown]


def test_same_line_of_other_processes_is_counted() -> None:
    dedup = Deduplicator(window=5)
    assert texts(list(dedup.add(line("hello", 1), 0))) == [("hello", 1)]
    assert list(dedup.add(line("hello", 2), 1)) == []
    assert list(dedup.add(line("hello", 3), 2)) == []
    assert dedup.due() == 5
    assert texts(list(dedup.expire(5))) == [("hello", 2)]
    assert dedup.due() is None


def test_a_process_may_repeat_itself() -> None:
    dedup = Deduplicator(window=5)
    for _ in range(3):
        assert texts(list(dedup.add(line("again"), 0))) == [("again", 1)]


def test_numbers_do_not_make_lines_different() -> None:
    dedup = Deduplicator(window=5)
    assert len(list(dedup.add(line("step 1 of run", 1), 0))) == 1
    assert list(dedup.add(line("step 2 of run", 2), 0)) == []
    assert texts(list(dedup.flush())) == [("step 2 of run", 1)]


def test_empty_lines_and_allowed_lines_are_never_folded() -> None:
    dedup = Deduplicator(window=5, allow="^keep", skip="^drop")
    for pid in range(3):
        assert len(list(dedup.add(line("keep this", pid), 0))) == 1
        assert len(list(dedup.add(line("", pid), 0))) == 1
        assert list(dedup.add(line("drop this", pid), 0)) == []


def test_environment_switches_folding_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    assert log_dedup.from_environment() is None
    monkeypatch.delenv("RAY_DEDUP_LOGS")
    assert log_dedup.from_environment() is not None


def test_prefix_and_count() -> None:
    assert monitor.formatted(Shown(line("text", 7), 1), False) == "(work pid=7) text\n"
    assert monitor.formatted(Shown(line("text", 7), 3), False) == (
        "(work pid=7) text [repeated 3x across cluster]\n"
    )
    coloured = monitor.formatted(Shown(line("text", 7), 1), True)
    assert coloured == "\x1b[36m(work pid=7)\x1b[0m text\n"


def test_colours_tell_processes_apart_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_COLOR_PREFIX", "1")
    shown = [monitor.formatted(Shown(line("text", pid), 1), True) for pid in (6, 9, 10, 12)]
    assert [text[:5] for text in shown] == ["\x1b[35m", "\x1b[90m", "\x1b[94m", "\x1b[35m"]


def test_marks_in_a_message_name_what_follows() -> None:
    data = b"one\n\x01wr:name=other\ntwo\n"
    found = monitor.lines_of([7, 1, b"first", True, data])
    assert found == [Line("first", 7, True, "one"), Line("other", 7, True, "two")]


def test_a_line_is_shown_on_a_stream_that_lacks_its_letters() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monitor._write(stream, "größe\n")
    assert raw.getvalue() == b"gr\\xf6\\xdfe\n"
