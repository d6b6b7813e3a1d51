"""nodes, cluster_resources and available_resources of one machine."""

from __future__ import annotations

import socket
from typing import Any

from .helpers import Ray, wait_until


def test_one_node_is_alive(ray: Ray) -> None:
    (node,) = ray.nodes()
    assert node["Alive"] is True
    assert node["Resources"]["CPU"] == 2.0


def test_node_names_its_machine(ray: Ray) -> None:
    (node,) = ray.nodes()
    assert node["NodeManagerHostname"] == socket.gethostname()
    socket.inet_aton(node["NodeManagerAddress"])


def test_node_id_is_that_of_the_context(ray: Ray) -> None:
    assert ray.nodes()[0]["NodeID"] == ray.get_runtime_context().get_node_id()


def test_cluster_resources_are_floats(ray: Ray) -> None:
    resources = ray.cluster_resources()
    assert resources["CPU"] == 2.0
    assert all(isinstance(value, float) for value in resources.values())


def test_cluster_resources_name_memory_and_store(ray: Ray) -> None:
    resources = ray.cluster_resources()
    assert resources["memory"] > 0
    assert resources["object_store_memory"] > 0


def test_cluster_resources_name_the_node(ray: Ray) -> None:
    resources = ray.cluster_resources()
    address = ray.nodes()[0]["NodeManagerAddress"]
    assert resources[f"node:{address}"] == 1.0
    assert resources["node:__internal_head__"] == 1.0


def test_available_is_the_total_when_idle(ray: Ray) -> None:
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0)
    assert set(ray.available_resources()) <= set(ray.cluster_resources())


def test_available_follows_running_work(ray: Ray, gate: Any) -> None:
    door = gate("door")
    ref = ray.remote(lambda: door.wait()).remote()
    wait_until(lambda: ray.available_resources().get("CPU") == 1.0)
    door.open()
    ray.get(ref)
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0)


def test_node_resource_pins_a_task_to_the_node(ray: Ray) -> None:
    address = ray.nodes()[0]["NodeManagerAddress"]
    task = ray.remote(resources={f"node:{address}": 0.01})(lambda: "here")
    assert ray.get(task.remote()) == "here"


def test_questions_inside_a_task(ray: Ray) -> None:
    look = ray.remote(lambda: (len(ray.nodes()), ray.cluster_resources()["CPU"]))
    assert ray.get(look.remote()) == (1, 2.0)


def test_values_take_of_the_store(ray: Ray) -> None:
    import numpy as np

    def used() -> float:
        key = "object_store_memory"
        return float(ray.cluster_resources()[key] - ray.available_resources()[key])

    wait_until(lambda: used() == 0)
    ref = ray.put(np.zeros(10_000_000, np.uint8))
    wait_until(lambda: 10_000_000 <= used() < 11_000_000)
    del ref
    wait_until(lambda: used() == 0)


def test_memory_of_the_session_may_be_given(start: Any, engine: Ray) -> None:
    start(_memory=500 * 1024 * 1024)
    assert engine.cluster_resources()["memory"] == 500 * 1024 * 1024
