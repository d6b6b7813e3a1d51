"""Named actors: lookup, uniqueness, get_if_exists, namespaces, detached life."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import uuid
from typing import Any

import pytest

from .helpers import Ray, process_gone, wait_until


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self) -> int:
        self.n += 1
        return self.n

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture
def name() -> str:
    """A name no other test uses."""
    return f"actor-{uuid.uuid4().hex[:8]}"


def free_again(ray: Ray, name: str, namespace: str | None = None) -> bool:
    try:
        ray.get_actor(name, namespace=namespace)
    except ValueError:
        return True
    return False


def test_get_actor_by_name(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    ray.get(counter.add.remote())
    found = ray.get_actor(name)
    assert found == counter
    assert ray.get(found.add.remote()) == 2


def test_get_actor_right_after_creation(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote(5)
    assert ray.get(ray.get_actor(name).add.remote()) == 6
    assert ray.get(counter.add.remote()) == 7


def test_get_actor_in_a_task_and_in_an_actor(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    task = ray.remote(lambda: ray.get(ray.get_actor(name).add.remote()))
    assert ray.get(task.remote()) == 1

    @ray.remote
    class Other:
        def use(self) -> int:
            return int(ray.get(ray.get_actor(name).add.remote()))

    assert ray.get(Other.remote().use.remote()) == 2
    assert ray.get(counter.add.remote()) == 3


def test_unknown_name_is_a_value_error_that_names_it(ray: Ray, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ray.get_actor(name)


@pytest.mark.parametrize("wrong", ["", None], ids=repr)
def test_empty_name_is_refused(ray: Ray, wrong: Any) -> None:
    with pytest.raises(ValueError):
        ray.get_actor(wrong)


def test_name_in_use_is_refused(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    with pytest.raises(ValueError, match=name):
        ray.remote(Counter).options(name=name).remote()
    assert ray.get(counter.add.remote()) == 1


def test_error_for_a_name_in_use_has_its_own_class(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    ray.get(counter.add.remote())
    with pytest.raises(ray.exceptions.ActorAlreadyExistsError):
        ray.remote(Counter).options(name=name).remote()


def test_get_if_exists_finds_or_creates(ray: Ray, name: str) -> None:
    maker = ray.remote(Counter).options(name=name, get_if_exists=True)
    first = maker.remote(10)
    assert ray.get(first.add.remote()) == 11
    second = maker.remote(99)
    assert second == first
    assert ray.get(second.add.remote()) == 12


def test_get_if_exists_raced_by_many_tasks(ray: Ray, name: str) -> None:
    @ray.remote
    def join() -> list[Any]:
        counter = ray.remote(Counter).options(name=name, get_if_exists=True).remote()
        return [counter, ray.get(counter.add.remote())]

    results = ray.get([join.remote() for _ in range(6)])
    assert len({handle for handle, _ in results}) == 1
    assert sorted(count for _, count in results) == [1, 2, 3, 4, 5, 6]


def test_name_is_free_after_kill(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    ray.get(counter.add.remote())
    ray.kill(counter)
    wait_until(lambda: free_again(ray, name))
    again = ray.remote(Counter).options(name=name).remote(50)
    assert ray.get(again.add.remote()) == 51


def test_name_is_free_after_the_last_handle_went(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    pid = ray.get(counter.pid.remote())
    del counter
    gc.collect()
    wait_until(lambda: process_gone(pid))
    wait_until(lambda: free_again(ray, name))


@pytest.mark.parametrize("when", ["it runs", "it is queued"])
def test_name_finds_the_actor_until_its_last_call_is_done(ray: Ray, name: str, when: str) -> None:
    """A service whose handle is dropped while its endless call runs goes on under its name."""

    @ray.remote(num_cpus=0)
    class Service:
        def __init__(self) -> None:
            self.stopped = asyncio.Event()

        async def serve(self) -> None:
            await self.stopped.wait()

        async def stop(self) -> int:
            self.stopped.set()
            return os.getpid()

    service = Service.options(name=name).remote()
    if when == "it runs":
        ray.get(service.__ray_ready__.remote())
    service.serve.remote()
    del service
    gc.collect()
    time.sleep(0.5)
    pid = ray.get(ray.get_actor(name).stop.remote())
    wait_until(lambda: process_gone(pid))
    wait_until(lambda: free_again(ray, name))


def test_a_name_that_finds_nobody_can_be_given_at_once(ray: Ray, name: str) -> None:
    for start in range(10):
        counter = ray.remote(Counter).options(name=name).remote(start)
        assert ray.get(counter.add.remote()) == start + 1
        del counter
        gc.collect()
        wait_until(lambda: free_again(ray, name))


def test_named_actor_is_not_kept_alive_by_a_found_handle_of_a_finished_task(
    ray: Ray, name: str
) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    pid = ray.get(counter.pid.remote())
    ray.get(ray.remote(lambda: ray.get(ray.get_actor(name).add.remote())).remote())
    del counter
    gc.collect()
    wait_until(lambda: process_gone(pid))


def test_namespace_of_the_option_separates_names(ray: Ray, name: str) -> None:
    here = ray.remote(Counter).options(name=name).remote(0)
    there = ray.remote(Counter).options(name=name, namespace="elsewhere").remote(100)
    assert ray.get(ray.get_actor(name).add.remote()) == 1
    assert ray.get(ray.get_actor(name, namespace="elsewhere").add.remote()) == 101
    assert here != there


def test_names_of_other_namespaces_are_not_seen(ray: Ray, name: str) -> None:
    there = ray.remote(Counter).options(name=name, namespace="elsewhere").remote()
    ray.get(there.add.remote())
    with pytest.raises(ValueError):
        ray.get_actor(name)
    with pytest.raises(ValueError):
        ray.get_actor(name, namespace="nowhere")


def test_detached_actor_outlives_its_handles(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name, lifetime="detached").remote()
    ray.get(counter.add.remote())
    del counter
    gc.collect()
    assert ray.get(ray.get_actor(name).add.remote()) == 2
    ray.kill(ray.get_actor(name))
    wait_until(lambda: free_again(ray, name))


def test_detached_actor_outlives_its_creating_task(ray: Ray, name: str) -> None:
    @ray.remote
    def make() -> None:
        counter = ray.remote(Counter).options(name=name, lifetime="detached").remote()
        ray.get(counter.add.remote())

    ray.get(make.remote())
    assert ray.get(ray.get_actor(name).add.remote()) == 2
    ray.kill(ray.get_actor(name))


def test_detached_actor_outlives_its_parent_actor(ray: Ray, name: str) -> None:
    @ray.remote
    class Parent:
        def make(self) -> None:
            child = ray.remote(Counter).options(name=name, lifetime="detached").remote()
            ray.get(child.add.remote())

    parent = Parent.remote()
    ray.get(parent.make.remote())
    ray.kill(parent)
    assert ray.get(ray.get_actor(name).add.remote()) == 2
    ray.kill(ray.get_actor(name))


def test_actors_list_by_name(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    ray.get(counter.add.remote())
    assert name in ray.util.list_named_actors()
    everywhere = ray.util.list_named_actors(all_namespaces=True)
    assert name in [entry["name"] for entry in everywhere]


def test_name_outside_ascii(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=f"{name}-größe").remote()
    assert ray.get(ray.get_actor(f"{name}-größe").add.remote()) == 1
    assert ray.get(counter.add.remote()) == 2


@pytest.mark.ray_differs("the name of an actor whose constructor failed stays taken there")
def test_name_of_a_failed_constructor_is_free_again(ray: Ray, name: str) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("broken")

        def value(self) -> int:
            return 1

    broken = Broken.options(name=name).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(broken.value.remote())
    wait_until(lambda: free_again(ray, name))


def test_found_handle_knows_the_methods(ray: Ray, name: str) -> None:
    counter = ray.remote(Counter).options(name=name).remote()
    ray.get(counter.add.remote())
    found = ray.get_actor(name)
    with pytest.raises(AttributeError):
        found.missing.remote()
    with pytest.raises(TypeError):
        found.add.remote("unexpected argument")


def test_long_names_and_namespaces_are_told_apart(ray: Ray, name: str) -> None:
    long = name + "n" * 1000
    first = ray.remote(Counter).options(name=long + "1", namespace=long).remote()
    second = ray.remote(Counter).options(name=long + "2", namespace=long).remote()
    assert ray.get(first.add.remote()) == ray.get(second.add.remote()) == 1
    assert ray.get(ray.get_actor(long + "1", namespace=long).add.remote()) == 2
    with pytest.raises(ValueError):
        ray.get_actor(long, namespace=long)
    with pytest.raises(ValueError):
        ray.get_actor(long + "1", namespace=long[:-1])
    assert ray.get(
        first.__ray_call__.remote(lambda _: ray.get_runtime_context().get_actor_name())
    ) == (long + "1")
    listed = ray.util.list_named_actors(all_namespaces=True)
    assert {"name": long + "2", "namespace": long} in listed
