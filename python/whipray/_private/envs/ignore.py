"""Patterns in the syntax of .gitignore, as far as they decide about one path."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Patterns:
    """The patterns of one file, about paths below the directory it lies in."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = [rule for rule in map(_rule, lines) if rule is not None]

    def verdict(self, path: str, is_dir: bool) -> bool | None:
        """True: excluded, False: taken back in by `!`, None: no pattern is about `path`, which is
        relative and has "/" between its parts."""
        found = None
        for regex, only_dirs, excluded in self._rules:
            if (is_dir or not only_dirs) and regex.fullmatch(path):
                found = excluded
        return found


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    text = line.rstrip("\r\n")
    text = re.sub(r"(?<!\\)[ \t]+$", "", text)
    if not text or text.startswith("#"):
        return None
    excluded = not text.startswith("!")
    text = text.removeprefix("!")
    only_dirs = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anchored = "/" in text
    body = _translate(text.lstrip("/"))
    return re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL), only_dirs, excluded


_PARTS = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]]*\]|\\.|.", re.DOTALL)


def _translate(text: str) -> str:
    return "".join(_part(part) for part in _PARTS.findall(text))


def _part(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part == "/**":
        return "/.+"
    if part.startswith("*"):
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1]
        if inner.startswith("!"):
            inner = "^" + inner[1:]
        return f"(?!/)[{inner}]"
    return re.escape(part[-1])
