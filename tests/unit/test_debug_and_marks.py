"""`ray.util.debug`'s search for leaks and the marks of `ray.util.annotations`."""

from __future__ import annotations

import pytest

from whipray.util import annotations, debug


def test_a_leak_is_found_and_its_line_named(capsys: pytest.CaptureFixture[str]) -> None:
    kept = []
    suspects = debug._test_some_code_for_memory_leaks(
        "appending", init=None, code=lambda: kept.append(bytearray(5000)), repeats=10
    )
    assert suspects and isinstance(suspects[0], debug.Suspect)
    assert suspects[0].memory_increase >= 9 * 5000 and suspects[0].slope > 4000
    assert any(frame.filename == __file__ for frame in suspects[0].traceback)
    assert "kept.append" in capsys.readouterr().out


def test_what_frees_its_memory_is_not_suspected() -> None:
    begun = []

    def init() -> None:
        begun.append(1)

    suspects = debug._test_some_code_for_memory_leaks(
        "nothing", init, lambda: bytearray(5000), repeats=10, max_num_trials=3
    )
    assert not any(frame.filename == __file__ for s in suspects for frame in s.traceback)
    assert begun


def test_small_increases_may_be_let_pass() -> None:
    kept = []
    code = lambda: kept.append(bytearray(5000))  # noqa: E731
    assert not debug._test_some_code_for_memory_leaks(
        "appending", None, code, repeats=5, min_memory_increase=10**6
    )


def test_marks_are_left_and_read() -> None:
    @annotations.PublicAPI(stability="alpha", api_group="Group")
    class Marked:
        pass

    class Derived(Marked):
        pass

    @annotations.DeveloperAPI
    def marked() -> None: ...

    assert annotations._get_annotation_type(Marked) == "PublicAPI"
    assert Marked._annotated_api_group == "Group"  # type: ignore[attr-defined]
    assert annotations._get_annotation_type(marked) == "DeveloperAPI"
    assert annotations._get_annotation_type(Derived) is None
    annotations._mark_annotated(Derived)
    assert annotations._get_annotation_type(Derived) == "Unknown"
    annotations._mark_annotated(3)
