"""The first use of the API starts an instance when the program called no init."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .helpers import Ray

USES: dict[str, Callable[[Ray], Any]] = {
    "put": lambda ray: ray.put(1),
    "wait": lambda ray: ray.wait([]),
    "get of nothing": lambda ray: ray.get([]),
    "context": lambda ray: ray.get_runtime_context(),
}


@pytest.mark.parametrize("name", list(USES))
def test_first_call_starts_an_instance(ray_fresh: Ray, name: str) -> None:
    USES[name](ray_fresh)
    assert ray_fresh.is_initialized()


def test_first_task_starts_an_instance(ray_fresh: Ray) -> None:
    task = ray_fresh.remote(lambda: "done")
    assert not ray_fresh.is_initialized()
    assert ray_fresh.get(task.remote()) == "done"
    assert ray_fresh.is_initialized()


def test_first_actor_starts_an_instance(ray_fresh: Ray) -> None:
    @ray_fresh.remote
    class Actor:
        def value(self) -> int:
            return 7

    assert not ray_fresh.is_initialized()
    assert ray_fresh.get(Actor.remote().value.remote()) == 7


def test_get_actor_starts_an_instance_and_finds_nothing(ray_fresh: Ray) -> None:
    with pytest.raises(ValueError):
        ray_fresh.get_actor("nobody")
    assert ray_fresh.is_initialized()


def test_init_after_auto_init_is_refused(ray_fresh: Ray) -> None:
    ray_fresh.put(1)
    with pytest.raises(RuntimeError, match="twice"):
        ray_fresh.init(num_cpus=1)


def test_declaring_remote_functions_starts_nothing(ray_fresh: Ray) -> None:
    task = ray_fresh.remote(num_cpus=1)(lambda: 1)
    task.options(num_cpus=2)
    assert not ray_fresh.is_initialized()
