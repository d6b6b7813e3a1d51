"""What `ps` shows of the processes that run tasks and actors."""

from __future__ import annotations

import os
from pathlib import Path

from .helpers import Ray, wait_until


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0]


def own() -> tuple[int, str]:
    return os.getpid(), title(os.getpid())


def test_a_task_shows_its_function_and_then_nothing(ray: Ray) -> None:
    @ray.remote
    def look() -> tuple[int, str]:
        return own()

    @ray.remote
    def other() -> tuple[int, str]:
        return own()

    pid, shown = ray.get(look.remote())
    assert shown.startswith("ray::") and shown.removesuffix("()").endswith("look")
    wait_until(lambda: title(pid) == "ray::IDLE")
    assert "other" in ray.get(other.remote())[1]


def test_an_actor_shows_its_class_and_method(ray: Ray) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.first = own()[1]

        def look(self) -> tuple[int, str, str]:
            return *own(), self.first

        def again(self) -> str:
            return own()[1]

    counter = Counter.remote()
    pid, shown, first = ray.get(counter.look.remote())
    assert first == "ray::Counter.__init__"
    assert shown == "ray::Counter.look"
    assert ray.get(counter.again.remote()) == "ray::Counter.again"
    wait_until(lambda: title(pid).startswith("ray::Counter") and "." not in title(pid))
    assert ray.get(counter.look.remote())[1] == "ray::Counter.look"
