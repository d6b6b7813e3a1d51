"""Rules about the text of the sources: length, width, words, docstrings."""

from __future__ import annotations

import ast
import re

import pytest

from tests.lint import sources

MAX_LINES = 700
MAX_COLUMNS = 100
TEXT = (".c", ".h", ".py", ".sh", ".mk", ".md", ".toml")
EVERYTHING = sources.files(
    *("csrc", "python", "tests", "tools", "examples", "benchmarks", "docs"),
    *("README.md", "CONTRIBUTING.md", "setup.py", "pyproject.toml"),
    suffixes=TEXT,
)
CODE = [p for p in EVERYTHING if p.suffix in (".c", ".h", ".py", ".sh", ".mk")]
C_CODE = [p for p in CODE if p.suffix in (".c", ".h")]

# Work left for later belongs in no source file.  Spelled apart so that this file passes too.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|W" r"IP)\b")
# The tree stands on its own: no paths of somebody's machine.
PRIVATE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|work|opt/(?:wr|rayenv))(?=/|\b)")


def lines_of(path):
    return path.read_text(encoding="utf-8").split("\n")


def matches(path, pattern):
    return [
        f"{sources.relative(path)}:{number}: {line.strip()}"
        for number, line in enumerate(lines_of(path), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("path", C_CODE, ids=sources.relative)
def test_c_file_has_one_job(path):
    count = len(lines_of(path))
    assert count <= MAX_LINES, f"{count} lines; split the file at its jobs"


@pytest.mark.parametrize("path", CODE, ids=sources.relative)
def test_line_width(path):
    wide = [
        f"{sources.relative(path)}:{number}: {len(line)} columns"
        for number, line in enumerate(lines_of(path), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert wide == []


@pytest.mark.parametrize("path", CODE, ids=sources.relative)
def test_plain_whitespace(path):
    text = path.read_text(encoding="utf-8")
    assert matches(path, re.compile(r"[ \t]+$|\r")) == []
    assert path.suffix == ".mk" or "\t" not in text, "tabs"
    assert not text or (text.endswith("\n") and not text.endswith("\n\n")), "end of file"


@pytest.mark.parametrize("path", EVERYTHING, ids=sources.relative)
def test_forbidden_words(path):
    if path.name == "test_sources.py":
        assert matches(path, UNFINISHED) == []
    else:
        assert matches(path, UNFINISHED) + matches(path, PRIVATE_PATH) == []


def public_modules():
    found = sources.files("python", "examples", "benchmarks", suffixes=(".py",))
    return [p for p in found if not p.stem.startswith("_") or p.stem == "__init__"]


@pytest.mark.parametrize("path", public_modules(), ids=sources.relative)
def test_module_has_docstring(path):
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(module), "say what the module is for"


@pytest.mark.parametrize("path", sources.files("csrc", suffixes=(".h",)), ids=sources.relative)
def test_header_opens_with_its_contract(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("/*"), "say what it is for, who owns each thing, who may call it"
    guard = re.search(r"^#(ifndef (\w+)\n#define \2\b|pragma once$)", text, re.MULTILINE)
    assert guard, "a header needs an include guard"
