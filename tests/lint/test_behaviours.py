"""docs/internals/behaviours.md: each behaviour names tests, and the tests are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.lint.sources import ROOT

PAGE = ROOT / "docs/internals/behaviours.md"
NAMED = re.compile(r"`([\w/]+\.(?:py|c))::(\w+)`")
DEFINED = {
    ".py": re.compile(r"^(?:async )?def (\w+)\(", re.MULTILINE),
    ".c": re.compile(r"^TEST\((\w+)\)", re.MULTILINE),
}


@cache
def defined(path: Path) -> frozenset[str]:
    """The tests of a file; of a page of programs for tests/differential, those."""
    return frozenset(DEFINED[path.suffix].findall(path.read_text(encoding="utf-8")))


def missing(text: str) -> list[str]:
    """What the text names and no file has."""
    found = []
    for file, name in NAMED.findall(text):
        path = ROOT / "tests" / file
        if not path.is_file() or name not in defined(path):
            found.append(f"{file}::{name}")
    return found


def behaviours() -> list[str]:
    """The items of the page, with all their lines."""
    text = PAGE.read_text(encoding="utf-8")
    return [item.partition("\n\n")[0] for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize("item", behaviours(), ids=lambda item: item.split("\n")[0][:60])
def test_every_behaviour_has_tests_that_are_there(item: str) -> None:
    assert NAMED.search(item), "names no test"
    assert missing(item) == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    here = "`lint/test_behaviours.py::test_a_test_that_is_not_there_is_noticed`"
    assert missing(here) == []
    assert missing("`lint/test_behaviours.py::test_nothing`") != []
    assert missing("`lint/test_nothing.py::test_nothing` " + here) != []
    assert missing("`c/test_refs.c::nothing`") != []
