"""What the errors of cancelled work say."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .helpers import Ray


def told(ray: Ray, ref: Any) -> str:
    with pytest.raises(ray.exceptions.TaskCancelledError) as caught:
        ray.get(ref)
    return str(caught.value)


EMPTY = pytest.mark.ray_differs("the text is empty there")


@pytest.mark.parametrize(
    "when",
    [pytest.param("queued", marks=EMPTY), "running", pytest.param("forced", marks=EMPTY)],
)
def test_the_error_names_the_task(ray: Ray, gate: Any, when: str) -> None:
    door, started = gate("door"), gate("started")

    def hold() -> None:
        started.open()
        while not door.is_open():
            time.sleep(0.01)

    holders = [] if when != "queued" else [ray.remote(lambda: door.wait()).remote() for _ in "ab"]
    ref = ray.remote(max_retries=0)(hold).remote()
    if when != "queued":
        started.wait()
    ray.cancel(ref, force=when == "forced")
    text = told(ray, ref)
    assert ref.task_id().hex() in text and "was cancelled" in text
    door.open()
    ray.get(holders)


@EMPTY
def test_all_returns_name_the_same_task(ray: Ray, gate: Any) -> None:
    door = gate("door")
    holders = [ray.remote(lambda: door.wait()).remote() for _ in range(2)]
    first, second = ray.remote(num_returns=2)(lambda: (1, 2)).remote()
    ray.cancel(first)
    assert first.task_id().hex() in told(ray, first)
    assert first.task_id().hex() in told(ray, second)
    door.open()
    ray.get(holders)
