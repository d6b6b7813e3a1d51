"""The documentation holds: its code runs, its links resolve, the files it names exist.

Fenced blocks of a page, by the words behind the fence:

    python          run; all blocks of a page make one script, run in one fresh interpreter
    python no-run   only compiled
    python pytest   a test file of its own, run by pytest with the plugin
    output          lines that the script, or the test run before it, must print; `...` stands for
                    anything
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECONDS = 120
PLUGIN = "whipray.testing.plugin"

FENCE = re.compile(r"^```(.*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"^[\w.*-]+(/[\w.*-]+)+/?$")
FILE = re.compile(r"^[\w*-]+\.(c|h|py|md|mk|toml)$")
SOURCES = ("", "csrc", "python", "python/whipray", "python/whipray/_private", "docs/internals")
"""What a path in the internals may start from."""


@dataclass
class Block:
    """A fenced block: the words behind the fence, its lines and the line it starts at."""

    info: str
    line: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def blocks_of(text: str) -> tuple[list[Block], list[str]]:
    """The fenced blocks of a page, and its lines outside of them."""
    blocks: list[Block] = []
    prose: list[str] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence and not inside:
            blocks.append(Block(fence[1].strip(), number + 1, []))
        elif not fence:
            (blocks[-1].lines if inside else prose).append(line)
        inside = inside != bool(fence)
    assert not inside, "a fence is not closed"
    return blocks, prose


def script_of(blocks: list[Block]) -> str:
    """The blocks that run, each at the line it has in the page."""
    lines: list[str] = []
    for block in blocks:
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.lines
    return "\n".join(lines) + "\n"


def run(*command: str, cwd: Path) -> str:
    """What the command printed; fails unless it succeeds.  No other program's session is found."""
    with tempfile.TemporaryDirectory(prefix="wr-") as sessions:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=SECONDS,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "WHIPRAY_TMPDIR": sessions},
        )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_file(folder: Path, block: Block) -> list[str]:
    """The arguments that run a block as a test file."""
    path = folder / "test_page.py"
    path.write_text(block.text, encoding="utf-8")
    installed = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))
    load = [] if installed else ["-p", PLUGIN]
    return ["-m", "pytest", "-q", "-p", "no:cacheprovider", *load, str(path)]


test_file.__test__ = False  # type: ignore[attr-defined]


def missing(expected: list[str], printed: str) -> list[str]:
    """Expected lines that were not printed."""
    patterns = [".*".join(map(re.escape, line.rstrip().split("..."))) for line in expected]
    shown = [line.rstrip() for line in printed.splitlines()]
    return [
        line
        for line, pattern in zip(expected, patterns, strict=True)
        if line.strip() and not any(re.fullmatch(pattern, have) for have in shown)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_of_the_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    blocks, _ = blocks_of(page.read_text(encoding="utf-8"))
    for block in blocks:
        if block.info.startswith("python"):
            compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    script = tmp_path / f"{page.stem.replace('-', '_')}.py"
    script.write_text(script_of(blocks), encoding="utf-8")
    printed = ""
    if any(block.info == "python" for block in blocks):
        printed = run(str(script), cwd=tmp_path)
    for block in blocks:
        if block.info == "python pytest":
            printed += run(*test_file(tmp_path, block), cwd=tmp_path)
    expected = [line for block in blocks if block.info == "output" for line in block.lines]
    lost = missing(expected, printed)
    assert not lost, "not printed:\n" + "\n".join(lost) + "\n\nbut:\n" + printed


def anchors(page: Path) -> set[str]:
    _, prose = blocks_of(page.read_text(encoding="utf-8"))
    heads = [line.lstrip("#").strip().lower() for line in prose if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    _, prose = blocks_of(page.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall("\n".join(prose)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


def exists(name: str) -> bool:
    """Is there such a file or folder; a bare file name may lie anywhere in the sources."""
    name = name.rstrip("/")
    if "/" in name:
        return any(any((ROOT / base).glob(name)) for base in SOURCES)
    return any(
        any((ROOT / base).rglob(name)) for base in ("csrc", "python", "tests", "tools", "docs")
    )


@pytest.mark.parametrize("page", [p for p in PAGES if "internals" in p.parts], ids=name_of)
def test_files_that_the_internals_name_exist(page: Path) -> None:
    _, prose = blocks_of(page.read_text(encoding="utf-8"))
    named = CODE.findall("\n".join(prose))
    gone = [n for n in named if (PATH.match(n) or FILE.match(n)) and not exists(n)]
    assert not gone


def test_every_page_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / t.partition("#")[0]).resolve() for t in LINK.findall(index.read_text())
    }
    assert not [name_of(p) for p in (ROOT / "docs").rglob("*.md") if p != index and p not in linked]


def test_a_line_that_is_not_printed_is_noticed() -> None:
    assert missing(["a ... c", "b"], "a long c\nbb\n") == ["b"]
