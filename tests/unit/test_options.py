"""Options of tasks, actors and methods: what is refused, what the rest means."""

from __future__ import annotations

from typing import Any

import pytest

from whipray._private import options
from whipray._private.envs import fields

TASK_TYPES: list[dict[str, Any]] = [
    {"num_cpus": "1"},
    {"num_gpus": "1"},
    {"memory": "1"},
    {"resources": [("slots", 1)]},
    {"resources": {"slots": "1"}},
    {"resources": {3: 1}},
    {"max_retries": "3"},
    {"max_retries": 1.5},
    {"max_calls": "1"},
    {"name": 3},
    {"retry_exceptions": 1},
    {"num_returns": 1.5},
    {"enable_task_events": None},
    {"runtime_env": ["A"]},
    {"runtime_env": {"env_vars": {"A": 1}}},
    {"runtime_env": {"env_vars": ["A"]}},
    {"scheduling_strategy": 4},
]
TASK_VALUES: list[dict[str, Any]] = [
    {"num_cpus": -1},
    {"num_cpus": 0.00001},
    {"num_cpus": float("nan")},
    {"num_cpus": float("inf")},
    {"num_gpus": 1.5},
    {"resources": {"slots": -1}},
    {"resources": {"CPU": 1}},
    {"resources": {"GPU": 1}},
    {"num_returns": -1},
    {"num_returns": "many"},
    {"max_retries": -2},
    {"max_calls": -1},
    {"scheduling_strategy": "NEAREST"},
    {"object_store_memory": 1},
    {"retry_exceptions": ["ValueError"]},
    {"retry_exceptions": [int]},
    {"_generator_backpressure_num_objects": 0},
    {"runtime_env": {"env_vars": {"A=B": "x"}}},
    {"max_restarts": 1},
]
ACTOR_TYPES: list[dict[str, Any]] = [
    {"max_restarts": "1"},
    {"max_concurrency": "4"},
    {"max_pending_calls": 1.0},
    {"namespace": 3},
    {"get_if_exists": 1},
    {"lifetime": 3},
    {"allow_out_of_order_execution": "yes"},
]
ACTOR_VALUES: list[dict[str, Any]] = [
    {"max_restarts": -2},
    {"max_task_retries": -2},
    {"lifetime": "forever"},
    {"name": ""},
    {"namespace": ""},
    {"num_returns": 2},
    {"max_retries": 1},
    {"concurrency_groups": {"io": 0}},
]
GOOD_TASK: list[dict[str, Any]] = [
    {},
    {"num_cpus": None, "resources": None},
    {"num_cpus": 0.5, "num_gpus": 0.25, "memory": 1e6},
    {"num_returns": 0},
    {"num_returns": "streaming"},
    {"max_retries": -1},
    {"retry_exceptions": [KeyError, ValueError]},
    {"scheduling_strategy": "SPREAD"},
    {"runtime_env": {"env_vars": {"A": "x"}}},
]


@pytest.mark.parametrize("given", GOOD_TASK, ids=repr)
def test_good_task_options_pass(given: dict[str, Any]) -> None:
    options.check_task(given, in_options=False)
    options.check_task(given, in_options=True)


@pytest.mark.parametrize("given", TASK_TYPES, ids=repr)
def test_wrong_type_of_a_task_option(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        options.check_task(given, in_options=False)


@pytest.mark.parametrize("given", TASK_VALUES, ids=repr)
def test_wrong_value_of_a_task_option(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        options.check_task(given, in_options=False)


@pytest.mark.parametrize("given", ACTOR_TYPES, ids=repr)
def test_wrong_type_of_an_actor_option(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        options.check_actor(given, in_options=False)


@pytest.mark.parametrize("given", ACTOR_VALUES, ids=repr)
def test_wrong_value_of_an_actor_option(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        options.check_actor(given, in_options=False)


def test_unknown_options_are_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"num_cpu for remote functions.*num_cpus"):
        options.check_task({"num_cpu": 1}, in_options=False)
    with pytest.raises(ValueError, match=r"nonsense for actors"):
        options.check_actor({"nonsense": 1}, in_options=False)
    with pytest.raises(ValueError, match=r"num_cpus for actor methods"):
        options.check_method({"num_cpus": 1})


def test_options_that_only_the_decorator_takes() -> None:
    options.check_task({"max_calls": 1}, in_options=False)
    with pytest.raises(ValueError, match="max_calls"):
        options.check_task({"max_calls": 1}, in_options=True)
    options.check_actor({"concurrency_groups": {"io": 2}}, in_options=False)
    with pytest.raises(ValueError, match="concurrency_groups"):
        options.check_actor({"concurrency_groups": {"io": 2}}, in_options=True)


def test_get_if_exists_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        options.check_actor_call({"get_if_exists": True})
    options.check_actor_call({"get_if_exists": True, "name": "one"})


def test_resources_of_a_task() -> None:
    assert options.wanted({}, 1) == {"CPU": 1.0}
    assert options.wanted({"num_cpus": 0}, 1) == {}
    given = {"num_cpus": 0.5, "num_gpus": 2, "memory": 100, "resources": {"a": 1, "b": 0}}
    assert options.wanted(given, 1) == {"CPU": 0.5, "GPU": 2.0, "memory": 100.0, "a": 1.0}


def test_an_actor_without_wishes_needs_a_cpu_only_to_start() -> None:
    assert options.actor_shapes({}) == ({"CPU": 1.0}, {})
    assert options.actor_shapes({"num_cpus": 2}) == ({"CPU": 2.0}, {"CPU": 2.0})
    assert options.actor_shapes({"num_cpus": 0}) == ({}, {})
    assert options.actor_shapes({"resources": {"a": 1}}) == ({"a": 1.0}, {"a": 1.0})


def test_groups_in_both_forms() -> None:
    assert options.groups_of({"io": 2}) == {"io": 2}
    assert options.groups_of([{"name": "io", "max_concurrency": 2}]) == {"io": 2}
    assert options.groups_of(None) == {}


def test_environment_fields_that_do_not_exist_yet_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="conda"):
        options.check_task({"runtime_env": {"conda": "base"}}, in_options=False)


def test_unknown_environment_fields_only_warn() -> None:
    with pytest.warns(UserWarning, match="colour"):
        assert fields.checked({"colour": 1, "env_vars": {}}) == {"env_vars": {}}


def test_merge_replaces_options_and_environments() -> None:
    base = {"num_cpus": 1, "runtime_env": {"env_vars": {"A": "1", "B": "1"}}}
    new = {"num_cpus": 2, "runtime_env": {"env_vars": {"B": "2"}}}
    assert options.merge(base, new) == options.merge_task(base, new) == new
    empty = {"runtime_env": {"env_vars": {}}}
    assert options.merge(base, empty)["runtime_env"] == empty["runtime_env"]
    assert options.merge_task(base, empty) == base
    assert base["num_cpus"] == 1
    assert base["runtime_env"] == {"env_vars": {"A": "1", "B": "1"}}
