"""Small tools shared by the compatibility tests.

Workers import this module by reference too, so it depends on the standard library only and never
imports an engine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")
Ray = ModuleType
"""The engine under test: the module `whipray` or the module `ray`."""

PATIENCE = 120.0
"""Seconds a condition may take before the test fails: below the limit of a whole test."""


def wait_until(condition: Callable[[], T], timeout: float = PATIENCE, pause: float = 0.02) -> T:
    """Poll `condition` until it is true and return its value; AssertionError after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout} s: {condition!r}")
        time.sleep(pause)


def nap() -> None:
    """Wait for ever in small steps, so that an interrupt arrives."""
    while True:
        time.sleep(0.02)


def process_gone(pid: int) -> bool:
    """True when `pid` has exited; a zombie that nobody has reaped yet counts as gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


class Gate:
    """A flag in the file system that any process can open, look at and wait for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def open(self) -> None:
        Path(self.path).touch()

    def is_open(self) -> bool:
        return os.path.exists(self.path)

    def wait(self, timeout: float = PATIENCE) -> None:
        wait_until(self.is_open, timeout)


class Journal:
    """A file to which any process appends whole lines: counts attempts and records order."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def add(self, text: object) -> int:
        """Append one line and return how many lines there are now."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")
        return len(self.lines())

    def lines(self) -> list[str]:
        try:
            return Path(self.path).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


class Point:
    """A plain class that workers import by reference."""

    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


class AppError(Exception):
    """An application error with more than a message."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
