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


OLD_USES: dict[str, Callable[[Ray, Any, Any], Any]] = {
    "get": lambda ray, ref, actor: ray.get(ref),
    "get of a list": lambda ray, ref, actor: ray.get([ref]),
    "wait": lambda ray, ref, actor: ray.wait([ref]),
    "cancel": lambda ray, ref, actor: ray.cancel(ref),
    "future": lambda ray, ref, actor: ref.future().result(60),
    "kill": lambda ray, ref, actor: ray.kill(actor),
    "call": lambda ray, ref, actor: actor.value.remote(),
}


def test_no_instance_is_started_where_the_environment_forbids_it(
    run_script: Callable[..., str],
) -> None:
    use = """
        try:
            ray.put(1)
        except ray.exceptions.RaySystemError:
            print("refused", ray.is_initialized())
    """
    assert "refused False" in run_script(use, RAY_ENABLE_AUTO_CONNECT="0")


@pytest.mark.ray_differs("an instance is started, which then does not know the reference")
@pytest.mark.parametrize("name", list(OLD_USES))
def test_what_an_ended_session_left_starts_no_other(
    start: Callable[..., Any], ray_fresh: Ray, name: str
) -> None:
    class Actor:
        def value(self) -> int:
            return 1

    start()
    actor = ray_fresh.remote(Actor).remote()
    ref = actor.value.remote()
    assert ray_fresh.get(ref) == 1
    ray_fresh.shutdown()
    errors = ray_fresh.exceptions
    with pytest.raises(
        (errors.ObjectLostError, errors.ActorHandleNotFoundError), match="session that has ended"
    ):
        OLD_USES[name](ray_fresh, ref, actor)
    assert not ray_fresh.is_initialized()
