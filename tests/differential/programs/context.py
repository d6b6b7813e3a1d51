"""Resources, ids, the runtime context, environment variables."""

from __future__ import annotations

import os
import time
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt

NAMES = (
    "get_job_id",
    "get_node_id",
    "get_worker_id",
    "get_task_id",
    "get_task_name",
    "get_task_function_name",
    "get_actor_id",
    "get_actor_name",
    "get_placement_group_id",
    "get_assigned_resources",
)


def look(ray: Ray, name: str) -> Any:
    """Ids by their length, the rest as it is."""
    value = attempt(getattr(ray.get_runtime_context(), name), text=False)
    if isinstance(value.value, str) and name.endswith("_id"):
        return ["text of", len(value.value)]
    return value


@program(
    each={name: name for name in NAMES},
    differs={"get_assigned_resources": "nothing is assigned to a driver: an empty dict, no error"},
)
def in_the_driver(ray: Ray, name: str) -> Any:
    return look(ray, name)


@program(each={name: name for name in NAMES})
def in_a_task(ray: Ray, name: str) -> Any:
    @ray.remote
    def task() -> Any:
        from tests.differential.observe import describe

        return describe(look(ray, name))

    return ray.get(task.remote())


@program(each={name: name for name in NAMES})
def in_an_actor(ray: Ray, name: str) -> Any:
    class Look:
        def see(self) -> Any:
            from tests.differential.observe import describe

            return describe(look(ray, name))

    actor = ray.remote(Look).options(name=f"diff-look-{name}").remote()
    return ray.get(actor.see.remote())


@program
def accelerators(ray: Ray) -> Any:
    task = ray.remote(lambda: ray.get_runtime_context().get_accelerator_ids()["GPU"])
    return [ray.get_runtime_context().get_accelerator_ids()["GPU"], ray.get(task.remote())]


@program
def same_job_everywhere(ray: Ray) -> Any:
    here = ray.get_runtime_context()
    job = ray.get(ray.remote(lambda: ray.get_runtime_context().get_job_id()).remote())
    node = ray.get(ray.remote(lambda: ray.get_runtime_context().get_node_id()).remote())
    return [job == here.get_job_id(), node == here.get_node_id()]


@program(each={"task": {"num_cpus": 2}, "fraction": {"num_cpus": 0.5}, "none": {"num_cpus": 0}})
def assigned_resources(ray: Ray, options: dict[str, Any]) -> Any:
    task = ray.remote(**options)(lambda: ray.get_runtime_context().get_assigned_resources())
    return ray.get(task.remote())


@program
def assigned_to_an_actor(ray: Ray) -> Any:
    class Look:
        def see(self) -> Any:
            return ray.get_runtime_context().get_assigned_resources()

    plain, asked = ray.remote(Look).remote(), ray.remote(num_cpus=1)(Look).remote()
    return ray.get([plain.see.remote(), asked.see.remote()])


def settled(read: Any, wanted: Any) -> Any:
    """The value once it is `wanted`, else the last one: Ray tells of changes late."""
    for _ in range(1000):
        value = read()
        if value == wanted:
            break
        time.sleep(0.02)
    return value


@program(init={"num_cpus": 3, "resources": {"special": 2}})
def cluster_resources(ray: Ray) -> Any:
    whole = ray.cluster_resources()
    return [whole["CPU"], whole["special"], sorted(key.split(":")[0] for key in whole)]


@program(init={"num_cpus": 3, "resources": {"special": 2}})
def available_while_an_actor_lives(ray: Ray) -> Any:
    class Holder:
        def ping(self) -> int:
            return 1

    actor = ray.remote(num_cpus=2, resources={"special": 0.5})(Holder).remote()
    ray.get(actor.ping.remote())
    held = settled(lambda: ray.available_resources().get("special"), 1.5)
    cpus = settled(lambda: ray.available_resources().get("CPU"), 1.0)
    ray.kill(actor)
    back = settled(lambda: ray.available_resources().get("special"), 2.0)
    return [held, cpus, back]


@program(init={"num_cpus": 3, "resources": {"special": 2}})
def used_up_is_absent(ray: Ray) -> Any:
    class Holder:
        def ping(self) -> int:
            return 1

    actor = ray.remote(num_cpus=0, resources={"special": 2})(Holder).remote()
    ray.get(actor.ping.remote())
    missing = settled(lambda: "special" in ray.available_resources(), False)
    ray.kill(actor)
    return [missing, settled(lambda: ray.available_resources().get("special"), 2.0)]


@program(init={"num_cpus": 3, "resources": {"special": 2}})
def waits_for_a_resource(ray: Ray) -> Any:
    @ray.remote(num_cpus=0, resources={"special": 2})
    def use(x: int) -> int:
        return x

    return ray.get([use.remote(i) for i in range(4)])


@program
def nodes(ray: Ray) -> Any:
    [node] = ray.nodes()
    keys = {"NodeID", "Alive", "NodeManagerAddress", "Resources", "Labels", "NodeName"}
    return [node["Alive"], sorted(keys & set(node)), node["Resources"]["CPU"], len(node["NodeID"])]


@program(each={"set": {"DIFF_A": "1"}, "two": {"DIFF_A": "x", "DIFF_B": "y"}})
def environment_of_a_task(ray: Ray, variables: dict[str, str]) -> Any:
    @ray.remote(runtime_env={"env_vars": variables})
    def see() -> Any:
        return {key: os.environ.get(key) for key in ("DIFF_A", "DIFF_B")}

    plain = ray.remote(lambda: os.environ.get("DIFF_A"))
    return [ray.get(see.remote()), ray.get(plain.remote())]


@program
def environment_is_inherited(ray: Ray) -> Any:
    def see() -> Any:
        return [os.environ.get("DIFF_A"), os.environ.get("DIFF_B")]

    @ray.remote(runtime_env={"env_vars": {"DIFF_A": "outer", "DIFF_B": "outer"}})
    def outer() -> Any:
        inner = ray.remote(see)
        changed = inner.options(runtime_env={"env_vars": {"DIFF_B": "inner"}})
        return ray.get([inner.remote(), changed.remote()])

    return ray.get(outer.remote())


@program(
    each={
        "number": {"A": 1},
        "key": {1: "a"},
        "list": ["A"],
        "empty": {},
    }
)
def environment_refused(ray: Ray, variables: Any) -> Any:
    options = {"runtime_env": {"env_vars": variables}}
    return attempt(lambda: ray.remote(**options)(lambda: 1) and "accepted", text=False)


@program
def threads_of_a_task(ray: Ray) -> Any:
    task = ray.remote(lambda: os.environ.get("OMP_NUM_THREADS"))
    return ray.get([task.remote(), task.options(num_cpus=2).remote()])


@program(each={"ObjectRef": 28, "ActorID": 16, "TaskID": 24, "JobID": 4, "NodeID": 28})
def ids(ray: Ray, size: int) -> Any:
    kind = {28: ray.ObjectRef, 16: ray.ActorID, 24: ray.TaskID, 4: ray.JobID}[size]
    made = kind(bytes(range(1, size + 1)))
    return [made.hex(), made == kind(made.binary()), made.is_nil(), kind.nil().is_nil()]


@program
def namespace(ray: Ray) -> Any:
    return type(ray.get_runtime_context().namespace).__name__
