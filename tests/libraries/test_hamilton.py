"""Hamilton: a graph of functions, each of which becomes a task."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from hamilton import ad_hoc_utils, base, driver
from hamilton.plugins import h_ray


def squares(n: int) -> list:
    return [number * number for number in range(n)]


def total(squares: list) -> int:
    return sum(squares)


def process(total: int) -> int:
    return os.getpid()


def graph() -> ModuleType:
    return ad_hoc_utils.create_temporary_module(squares, total, process, module_name="graph")


def test_graph_of_tasks(ray: Any) -> None:
    adapter = h_ray.RayGraphAdapter(result_builder=base.DictResult())
    found = driver.Driver({"n": 5}, graph(), adapter=adapter).execute(["total", "process"])
    assert found["total"] == 30 and found["process"] != os.getpid()
