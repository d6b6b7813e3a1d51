"""The functions of test_hamilton; workers import them."""

from __future__ import annotations

import os


def squares(n: int) -> list[int]:
    return [number * number for number in range(n)]


def total(squares: list[int]) -> int:
    return sum(squares)


def process(total: int) -> int:
    return os.getpid()
