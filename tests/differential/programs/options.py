"""Options: what is refused, and by which error."""

from __future__ import annotations

from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


class Some:
    def ping(self) -> int:
        return 1


COMMON: dict[str, dict[str, Any]] = {
    "num_cpus text": {"num_cpus": "1"},
    "num_cpus negative": {"num_cpus": -1},
    "num_cpus too fine": {"num_cpus": 0.00001},
    "num_gpus negative": {"num_gpus": -1},
    "num_gpus odd": {"num_gpus": 1.5},
    "resources list": {"resources": ["a"]},
    "resources cpu": {"resources": {"CPU": 1}},
    "resources gpu": {"resources": {"GPU": 1}},
    "resources negative": {"resources": {"a": -1}},
    "memory text": {"memory": "1g"},
    "memory negative": {"memory": -5},
    "name number": {"name": 3},
    "runtime_env text": {"runtime_env": "x"},
    "unknown": {"num_cpu": 1},
    "two unknown": {"zzz": 1, "num_cpus": 1},
    "strategy text": {"scheduling_strategy": "NOWHERE"},
    "strategy number": {"scheduling_strategy": 7},
    "accelerator number": {"accelerator_type": 3},
    "label_selector list": {"label_selector": ["a"]},
}

TASKS: dict[str, dict[str, Any]] = {
    **COMMON,
    "num_returns negative": {"num_returns": -1},
    "num_returns text": {"num_returns": "many"},
    "num_returns float": {"num_returns": 1.5},
    "max_retries less": {"max_retries": -2},
    "max_retries text": {"max_retries": "3"},
    "max_calls negative": {"max_calls": -1},
    "max_calls text": {"max_calls": "a"},
    "retry_exceptions text": {"retry_exceptions": "yes"},
    "retry_exceptions number": {"retry_exceptions": [3]},
    "max_restarts": {"max_restarts": 1},
    "lifetime": {"lifetime": "detached"},
    "object_store_memory": {"object_store_memory": 100},
    "max_concurrency": {"max_concurrency": 2},
    "backpressure zero": {"_generator_backpressure_num_objects": 0},
}

ACTORS: dict[str, dict[str, Any]] = {
    **COMMON,
    "max_restarts less": {"max_restarts": -2},
    "max_restarts text": {"max_restarts": "1"},
    "max_task_retries less": {"max_task_retries": -2},
    "max_concurrency zero": {"max_concurrency": 0},
    "max_concurrency text": {"max_concurrency": "2"},
    "lifetime other": {"lifetime": "for ever"},
    "namespace number": {"namespace": 3},
    "max_pending_calls text": {"max_pending_calls": "x"},
    "max_retries": {"max_retries": 1},
    "num_returns": {"num_returns": 2},
    "max_calls": {"max_calls": 1},
    "get_if_exists text": {"get_if_exists": "x"},
    "concurrency_groups list": {"concurrency_groups": 3},
}

ON_CREATION: dict[str, dict[str, Any]] = {
    "get_if_exists without name": {"get_if_exists": True},
    "detached without name": {"lifetime": "detached"},
    "empty name": {"name": ""},
    "name none": {"name": None},
    "namespace without name": {"namespace": "n"},
}


AT_ONCE = "refused where it is written, not when it is used"
DIFFERENCES = {"num_gpus odd": AT_ONCE, "strategy text": AT_ONCE}
TASK_DIFFERENCES = {**DIFFERENCES, "num_returns text": "a ValueError that says what it may be"}


@program(each=TASKS, differs=TASK_DIFFERENCES)
def task_decorator(ray: Ray, options: dict[str, Any]) -> Any:
    return attempt(lambda: ray.remote(**options)(lambda: 1) and "accepted", text=False)


@program(each={**TASKS, "max_calls given": {"max_calls": 1}}, differs=TASK_DIFFERENCES)
def task_options(ray: Ray, options: dict[str, Any]) -> Any:
    return attempt(lambda: ray.remote(lambda: 1).options(**options) and "accepted", text=False)


@program(each=ACTORS, differs=DIFFERENCES)
def actor_decorator(ray: Ray, options: dict[str, Any]) -> Any:
    return attempt(lambda: ray.remote(**options)(Some) and "accepted", text=False)


@program(each=ACTORS, differs=DIFFERENCES)
def actor_options(ray: Ray, options: dict[str, Any]) -> Any:
    return attempt(lambda: ray.remote(Some).options(**options) and "accepted", text=False)


@program(each=ON_CREATION)
def actor_creation(ray: Ray, options: dict[str, Any]) -> Any:
    def make() -> Any:
        actor = ray.remote(Some).options(**options).remote()
        answer = ray.get(actor.ping.remote())
        ray.kill(actor)
        return answer

    return attempt(make)


@program(differs="a TypeError that names every option, not an AssertionError")
def positional_arguments_of_remote(ray: Ray) -> Any:
    return [attempt(lambda: ray.remote(1, 2)), attempt(lambda: ray.remote(lambda: 1, 2))]


@program
def async_actor_in_order(ray: Ray) -> Any:
    class Async:
        async def ping(self) -> int:
            return 1

    def make() -> Any:
        actor = ray.remote(Async).options(allow_out_of_order_execution=False).remote()
        return ray.get(actor.ping.remote())

    return attempt(make, text=False)


@program
def second_init(ray: Ray) -> Any:
    return [
        attempt(lambda: ray.init(), text=False),
        attempt(lambda: type(ray.init(ignore_reinit_error=True)).__name__),
        ray.is_initialized(),
    ]
