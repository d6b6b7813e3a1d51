"""Hamilton: a graph of functions, each of which becomes a task."""

from __future__ import annotations

import os
from typing import Any

from hamilton import base, driver
from hamilton.plugins import h_ray

from . import hamilton_graph


def test_graph_of_tasks(ray: Any) -> None:
    adapter = h_ray.RayGraphAdapter(result_builder=base.DictResult())
    found = driver.Driver({"n": 5}, hamilton_graph, adapter=adapter).execute(["total", "process"])
    assert found["total"] == 30 and found["process"] != os.getpid()
