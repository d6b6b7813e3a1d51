"""Wrong options are refused where they are written: unknown ones, wrong types, wrong values."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Point, Ray


def task_body() -> None:
    return None


UNKNOWN = [{"nonsense": 1}, {"num_cpu": 1}]
WRONG_TASK_TYPES: list[dict[str, Any]] = [
    {"num_cpus": "1"},
    {"num_gpus": "1"},
    {"resources": [("slots", 1)]},
    {"max_retries": "3"},
    {"max_retries": 1.5},
    {"max_calls": "1"},
    {"name": 3},
    {"retry_exceptions": 1},
    {"num_returns": 1.5},
]
WRONG_TASK_VALUES: list[dict[str, Any]] = [
    {"num_cpus": -1},
    {"num_gpus": -1},
    {"resources": {"slots": -1}},
    {"resources": {"CPU": 1}},
    {"num_returns": -1},
    {"max_retries": -2},
    {"max_calls": -1},
]
WRONG_ACTOR_TYPES: list[dict[str, Any]] = [
    {"num_cpus": "1"},
    {"max_restarts": "1"},
    {"max_task_retries": "1"},
    {"max_concurrency": "4"},
    {"max_pending_calls": "4"},
    {"name": 3},
    {"namespace": 3},
    {"get_if_exists": 1},
]
WRONG_ACTOR_VALUES: list[dict[str, Any]] = [
    {"num_cpus": -1},
    {"max_restarts": -2},
    {"max_task_retries": -2},
    {"lifetime": "forever"},
    {"resources": {"GPU": 1}},
]


def shown(options: dict[str, Any]) -> str:
    return ",".join(f"{key}={value!r}" for key, value in options.items())


@pytest.mark.parametrize("options", UNKNOWN, ids=shown)
def test_unknown_option_of_a_task_is_named(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ray.remote(**options)(task_body)


@pytest.mark.parametrize("options", UNKNOWN, ids=shown)
def test_unknown_option_of_an_actor_is_named(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ray.remote(**options)(Point)


@pytest.mark.parametrize("options", UNKNOWN, ids=shown)
def test_unknown_option_in_options_is_named(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ray.remote(task_body).options(**options)
    with pytest.raises(ValueError, match=next(iter(options))):
        ray.remote(Point).options(**options)


@pytest.mark.parametrize("options", WRONG_TASK_TYPES, ids=shown)
def test_task_option_of_the_wrong_type(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ray.remote(**options)(task_body)


@pytest.mark.parametrize("options", WRONG_TASK_VALUES, ids=shown)
def test_task_option_of_the_wrong_value(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ray.remote(**options)(task_body)


@pytest.mark.parametrize(
    "options", [{"num_gpus": 1.5}, {"scheduling_strategy": "NEAREST"}], ids=shown
)
def test_task_option_that_is_refused_by_the_call(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ray.remote(**options)(task_body).remote()


def test_num_returns_of_an_unknown_word_is_refused(ray: Ray) -> None:
    with pytest.raises((TypeError, ValueError)):
        ray.remote(num_returns="many")(task_body)


@pytest.mark.parametrize("options", WRONG_ACTOR_TYPES, ids=shown)
def test_actor_option_of_the_wrong_type(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ray.remote(**options)(Point)


@pytest.mark.parametrize("options", WRONG_ACTOR_VALUES, ids=shown)
def test_actor_option_of_the_wrong_value(ray: Ray, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ray.remote(**options)(Point)


@pytest.mark.parametrize("name", ["num_returns", "max_retries", "max_calls", "retry_exceptions"])
def test_task_option_on_an_actor_is_refused(ray: Ray, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ray.remote(**{name: 1})(Point)


@pytest.mark.parametrize("name", ["max_restarts", "max_task_retries", "max_concurrency"])
def test_actor_option_on_a_task_is_refused(ray: Ray, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ray.remote(**{name: 1})(task_body)


def test_max_calls_cannot_be_changed_per_call(ray: Ray) -> None:
    with pytest.raises(ValueError, match="max_calls"):
        ray.remote(task_body).options(max_calls=2)


def test_get_if_exists_needs_a_name(ray: Ray) -> None:
    with pytest.raises(ValueError, match="name"):
        ray.remote(Point).options(get_if_exists=True).remote(1, 2)


def test_empty_actor_name_is_refused(ray: Ray) -> None:
    with pytest.raises(ValueError):
        ray.remote(Point).options(name="").remote(1, 2)


def test_options_that_are_none_mean_the_default(ray: Ray) -> None:
    task = ray.remote(num_cpus=None, resources=None)(task_body)
    assert ray.get(task.remote()) is None


def test_retry_exceptions_lists_classes_of_exceptions_only(ray: Ray) -> None:
    with pytest.raises((TypeError, ValueError)):
        ray.remote(retry_exceptions=["ValueError"])(task_body)


def test_num_returns_of_a_method_is_checked(ray: Ray) -> None:
    class Plain:
        def value(self) -> int:
            return 3

    actor = ray.remote(Plain).remote()
    with pytest.raises((TypeError, ValueError)):
        ray.get(actor.value.options(num_returns=-1).remote())


def test_method_decorator_refuses_unknown_options(ray: Ray) -> None:
    with pytest.raises((TypeError, ValueError, AssertionError)):
        ray.method(nonsense=1)


def test_environment_of_a_task_must_be_a_mapping(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.remote(runtime_env=["PATH"])(task_body)
