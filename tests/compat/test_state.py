"""The state API: columns, filters, limits, single rows and what is said of wrong questions.

The original answers these through its dashboard: without `ray[default]` its tests are skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import ENGINE, init_defaults
from .groups import in_group
from .helpers import Ray, wait_until


@pytest.fixture(scope="module")
def ray(engine: Ray) -> Iterator[Ray]:
    if ENGINE == "ray" and importlib.util.find_spec("aiohttp_cors") is None:
        pytest.skip("needs the dashboard of ray[default]")
    engine.shutdown()
    dashboard = {"include_dashboard": True} if ENGINE == "ray" else {}
    engine.init(**{**init_defaults(), **dashboard, "namespace": "here"})
    os.environ["RAY_ADDRESS"] = engine.get_runtime_context().gcs_address
    yield engine
    del os.environ["RAY_ADDRESS"]
    engine.shutdown()


@pytest.fixture
def state(ray: Ray) -> Any:
    return importlib.import_module(f"{ray.__name__}.util.state")


@pytest.fixture
def common(ray: Ray) -> Any:
    return importlib.import_module(f"{ray.__name__}.util.state.common")


@pytest.fixture
def refused(ray: Ray) -> Any:
    """The error of questions that can not be answered."""
    return importlib.import_module(f"{ray.__name__}.util.state.exception").RayStateApiException


class Thing:
    def quick(self) -> int:
        return 1

    def die(self) -> None:
        os._exit(1)


def eventually(ask: Callable[[], Any]) -> Any:
    """The original hears of tasks a little later."""
    return wait_until(ask, pause=0.2)


# ---- columns -------------------------------------------------------------------------------------

COLUMNS = {
    "ActorState": (
        "actor_id class_name state job_id name node_id pid ray_namespace",
        "serialized_runtime_env required_resources death_cause is_detached placement_group_id "
        "repr_name num_restarts num_restarts_due_to_lineage_reconstruction "
        "num_restarts_due_to_node_preemption call_site label_selector fallback_strategy",
        "actor_id class_name state job_id name node_id pid ray_namespace placement_group_id "
        "repr_name",
    ),
    "PlacementGroupState": (
        "placement_group_id name creator_job_id state",
        "bundles is_detached stats topology_strategy topology_assignments",
        "placement_group_id name creator_job_id state is_detached",
    ),
    "NodeState": (
        "node_id node_ip is_head_node state state_message node_name resources_total labels",
        "start_time_ms end_time_ms",
        "node_id node_ip is_head_node state node_name",
    ),
    "WorkerState": (
        "worker_id is_alive worker_type exit_type node_id ip pid",
        "exit_detail worker_launch_time_ms worker_launched_time_ms start_time_ms end_time_ms "
        "debugger_port num_paused_threads",
        "worker_id is_alive worker_type exit_type node_id ip pid debugger_port num_paused_threads",
    ),
    "TaskState": (
        "task_id attempt_number name state job_id actor_id type func_or_class_name parent_task_id "
        "node_id worker_id worker_pid error_type",
        "language required_resources runtime_env_info placement_group_id events profiling_data "
        "creation_time_ms start_time_ms end_time_ms task_log_info error_message is_debugger_paused "
        "call_site label_selector fallback_strategy",
        "task_id attempt_number name state job_id actor_id type func_or_class_name parent_task_id "
        "node_id worker_id worker_pid error_type language placement_group_id is_debugger_paused",
    ),
    "ObjectState": (
        "object_id object_size task_status attempt_number reference_type call_site type pid ip",
        "",
        "object_id object_size task_status attempt_number reference_type call_site type pid ip",
    ),
    "RuntimeEnvState": (
        "runtime_env success creation_time_ms node_id",
        "ref_cnt error",
        "runtime_env success node_id error",
    ),
    "ClusterEventState": (
        "severity time source_type message event_id",
        "custom_fields",
        "severity source_type event_id",
    ),
}
"""By kind: the columns that are always there, those of details, those that filters may name."""


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(common: Any, kind: str) -> None:
    always, detail, filterable = (text.split() for text in COLUMNS[kind])
    row = getattr(common, kind)
    assert row.list_columns(detail=False) == always
    assert row.list_columns() == always + detail
    assert row.base_columns() == set(always)
    assert row.columns() == row.detail_columns() == set(always + detail)
    assert row.filterable_columns() == set(filterable)


def test_columns_of_jobs(common: Any) -> None:
    row = common.JobState
    always = {"job_id", "submission_id", "entrypoint", "type", "status", "message", "error_type"}
    assert row.base_columns() == always | {"driver_info"}
    assert row.columns() >= row.base_columns() | {"start_time", "end_time", "metadata"}
    assert row.filterable_columns() == {"job_id", "type", "status", "submission_id"}


# ---- what rows tell ------------------------------------------------------------------------------


def test_what_an_actor_asks_for(ray: Ray, state: Any) -> None:
    asks = {
        "num_cpus": 0.5,
        "label_selector": {"colour": "!red"},
        "fallback_strategy": [{"label_selector": {"colour": "!in(a,b)", "size": "!x"}}],
        "runtime_env": {"env_vars": {"COLOUR": "green"}},
    }
    actors = [ray.remote(Thing).remote(), ray.remote(Thing).options(**asks).remote()]
    ray.get([actor.quick.remote() for actor in actors])
    plain, asking = (state.get_actor(actor._actor_id.hex()) for actor in actors)
    assert (plain.required_resources, plain.label_selector) == ({}, {})
    assert (plain.fallback_strategy, plain.serialized_runtime_env) == (None, "{}")
    assert (plain.name, plain.is_detached, plain.death_cause) == ("", False, None)
    assert plain.num_restarts_due_to_lineage_reconstruction == 0
    assert plain.num_restarts_due_to_node_preemption == 0
    assert asking.required_resources == {"CPU": 0.5}
    assert asking.label_selector == {"colour": "!red"}
    (option,) = asking.fallback_strategy["options"]
    found = option["label_selector"]["label_constraints"]
    assert {row["operator"] for row in found} == {"LABEL_OPERATOR_NOT_IN"}
    values = {row["label_key"]: sorted(row["label_values"]) for row in found}
    assert values == {"colour": ["a", "b"], "size": ["x"]}
    assert asking.serialized_runtime_env == '{"env_vars": {"COLOUR": "green"}}'
    (row,) = state.list_actors(filters=[("actor_id", "=", actors[1]._actor_id.hex())])
    assert row.label_selector is row.required_resources is row.num_restarts is None


def test_what_a_task_asks_for(ray: Ray, state: Any) -> None:
    plain = ray.remote(lambda: 1)
    asking = plain.options(num_cpus=0.25, name="asking", label_selector={"colour": "!red"})
    refs = [plain.remote(), asking.remote()]
    ray.get(refs)
    rows = [eventually(lambda ref=ref: state.get_task(ref)) for ref in refs]
    assert [row.required_resources for row in rows] == [{"CPU": 1.0}, {"CPU": 0.25}]
    assert [row.label_selector for row in rows] == [{}, {"colour": "!red"}]
    assert [row.fallback_strategy for row in rows] == [{"options": []}] * 2
    assert [row.name for row in rows] == ["<lambda>", "asking"]
    assert [row.func_or_class_name for row in rows] == ["<lambda>"] * 2
    assert rows[0].placement_group_id is rows[0].is_debugger_paused is rows[0].call_site is None


def test_actors_and_their_tasks_have_names(ray: Ray, state: Any) -> None:
    actor = ray.remote(Thing).options(name="one").remote()
    ref = actor.quick.remote()
    ray.get(ref)
    call = eventually(lambda: state.get_task(ref))
    assert (call.name, call.func_or_class_name, call.type) == ("Thing.quick",) * 2 + ("ACTOR_TASK",)
    filters = [("actor_id", "=", actor._actor_id.hex()), ("type", "=", "ACTOR_CREATION_TASK")]
    (made,) = eventually(lambda: state.list_tasks(filters=filters))
    assert (made.name, made.func_or_class_name) == ("one:Thing.__init__", "Thing.__init__")


def test_placement_groups_and_what_is_in_them(ray: Ray, state: Any) -> None:
    group = ray.util.placement_group([{"CPU": 0.5}], name="group")
    ray.get(group.ready())
    row, id = state.get_placement_group(group.id.hex()), group.id.hex()
    node = ray.get_runtime_context().get_node_id()
    assert (row.name, row.state, row.is_detached) == ("group", "CREATED", False)
    assert row.creator_job_id == ray.get_runtime_context().get_job_id()
    assert row.bundles == [
        {
            "bundle_id": {"placement_group_id": id, "bundle_index": 0},
            "unit_resources": {"CPU": 0.5},
            "node_id": node,
            "label_selector": {},
        }
    ]
    assert row.topology_strategy == row.topology_assignments == {}
    assert not [name for name in state.list_nodes()[0].resources_total if "group" in name]
    options = {"num_cpus": 0.25, "scheduling_strategy": in_group(ray, group, 0)}
    actor = ray.remote(Thing).options(**options).remote()
    ray.get(actor.quick.remote())
    (found,) = state.list_actors(filters=[("placement_group_id", "=", id)], detail=True)
    assert found.actor_id == actor._actor_id.hex()
    names = {f"{name}_group_{at}{id}" for name in ("CPU", "bundle") for at in ("", "0_")}
    assert set(found.required_resources) == names
    assert found.required_resources[f"CPU_group_{id}"] == 0.25
    ray.kill(actor)
    ray.util.remove_placement_group(group)


def test_objects_of_tasks(ray: Ray, state: Any, gate: Any) -> None:
    door, started = gate("door"), gate("started")

    def hold(first: int) -> None:
        started.open()
        door.wait()

    def status(ref: Any) -> Any:
        found = state.get_objects(ref.hex())
        return found and found[0].task_status

    running = ray.remote(num_cpus=0)(hold).remote(1)
    after = ray.remote(num_cpus=0)(hold).remote(running)
    never = ray.remote(num_cpus=100)(hold).remote(1)
    failed = ray.remote(lambda: 1 / 0).options(max_retries=0).remote()
    ray.wait([failed])
    started.wait()
    row = eventually(lambda: state.get_task(running))
    assert row.runtime_env_info["serialized_runtime_env"] == "{}"
    wait_until(lambda: status(running) == "SUBMITTED_TO_WORKER")
    assert status(after) == "PENDING_ARGS_AVAIL"
    assert status(never) == "PENDING_NODE_ASSIGNMENT"
    assert status(failed) == status(ray.put(1)) or status(failed) == "FINISHED"
    assert state.get_objects(running.hex())[0].object_size == -1
    door.open()
    ray.get(after)
    ray.cancel(never)


def test_drivers_as_jobs(ray: Ray, state: Any) -> None:
    (plain,), (row,) = state.list_jobs(), state.list_jobs(detail=True)
    assert plain.start_time is plain.runtime_env is plain.metadata is None
    assert (row.type, row.status, row.end_time, row.metadata) == ("DRIVER", "RUNNING", 0, {})
    assert (row.driver_info.id, row.driver_info.pid) == (row.job_id, str(os.getpid()))
    assert row.asdict()["driver_info"]["pid"] == str(os.getpid())


# ---- how one asks --------------------------------------------------------------------------------


def test_limits(ray: Ray, state: Any, refused: Any) -> None:
    ref = ray.remote(lambda: 1).remote()
    ray.get(ref)
    eventually(lambda: state.get_task(ref))
    assert state.list_tasks(limit=0) == []
    assert len(state.list_tasks(limit="1")) == len(state.list_tasks(limit=True)) == 1
    assert len(state.list_nodes(limit=10_000)) == 1
    with pytest.raises(refused):
        state.list_tasks(limit=-1)
    with pytest.raises(refused, match="limit 10001 exceeds the supported limit 10000"):
        state.list_nodes(limit=10_001)
    for wrong in (1.5, None, "many"):
        with pytest.raises(ValueError, match="valid integer"):
            state.list_tasks(limit=wrong)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ([("name", "<", "x")], "Unsupported filter predicate < is given"),
        ([("name", "=")], None),
        ("name=x", "valid list"),
        ([("name", "=", None)], None),
        ([("name", "=", ["a"])], None),
    ],
    ids=str,
)
def test_filters_that_are_none(state: Any, wrong: Any, text: str | None) -> None:
    with pytest.raises(ValueError, match=text):
        state.list_actors(filters=wrong)


@pytest.mark.parametrize(
    ("kind", "column", "value", "text"),
    [
        ("actors", "colour", "x", "The given filter column colour is not supported"),
        ("actors", "death_cause", "x", "The given filter column death_cause is not supported"),
        ("actors", "state", "nope", "Invalid actor state for filtering: NOPE"),
        ("actors", "actor_id", "zz", "Non-hexadecimal digit found"),
        ("actors", "actor_id", "", "ID string needs to have length 16, got 0"),
        ("tasks", "task_id", "x", "Odd-length string"),
        ("nodes", "node_id", "x", "Odd-length string"),
        ("workers", "is_alive", "maybe", "Invalid filter `--filter is_alive maybe` for a boolean"),
        ("workers", "pid", "x", "Invalid filter `--filter pid x` for a int type column"),
        ("jobs", "entrypoint", "x", None),
    ],
)
def test_filters_that_make_no_sense(
    ray: Ray, state: Any, refused: Any, kind: str, column: str, value: str, text: str | None
) -> None:
    actor = ray.remote(Thing).remote()
    ray.get(actor.quick.remote())
    with pytest.raises(refused, match=text):
        getattr(state, f"list_{kind}")(filters=[(column, "=", value)])


def test_filters_that_find_nothing(ray: Ray, state: Any) -> None:
    assert state.list_tasks(filters=[("state", "=", "NOPE")]) == []
    assert state.list_actors(filters=[("actor_id", "=", "ff" * 16)]) == []
    assert state.list_actors(filters=[("name", "=", 5)]) == []
    with pytest.warns(UserWarning, match="multiple '=' filters with the same key 'name'"):
        assert state.list_actors(filters=[("name", "=", "a"), ("name", "=", "b")]) == []


def test_filters_that_find_something(ray: Ray, state: Any) -> None:
    actor = ray.remote(Thing).options(name="found").remote()
    ray.get(actor.quick.remote())
    for one in (("name", "=", "found"), ("NAME", "=", "Found"), ["name", "=", "FOUND"]):
        assert [row.name for row in state.list_actors(filters=(one,))] == ["found"]
    (driver,) = state.list_workers(filters=[("pid", "=", str(os.getpid()))])
    assert driver.worker_type == "DRIVER"


@pytest.mark.parametrize("what", ["actor", "task", "node", "worker", "placement_group", "objects"])
def test_what_is_not_there_is_none(state: Any, what: str) -> None:
    size = {"actor": 16, "task": 24, "placement_group": 18}.get(what, 28)
    assert getattr(state, f"get_{what}")("ff" * size) is None


def test_ids_that_are_none(state: Any, refused: Any) -> None:
    assert state.get_objects("x") is state.get_worker("x") is state.get_job("x") is None
    for ask in (state.get_actor, state.get_task, state.get_node):
        with pytest.raises(refused, match="Odd-length string"):
            ask("x")


def test_an_actor_that_has_died_and_come_back(ray: Ray, state: Any) -> None:
    actor = ray.remote(Thing).options(max_restarts=1, max_task_retries=3).remote()
    ray.get(actor.quick.remote())
    actor.die.options(max_task_retries=0).remote()
    while True:
        time.sleep(0.1)
        if ray.get(actor.quick.remote()) and state.get_actor(actor._actor_id.hex()).num_restarts:
            break
    assert state.get_actor(actor._actor_id.hex()).num_restarts == 1


def test_logs_that_are_none(ray: Ray, state: Any, refused: Any) -> None:
    with pytest.raises(refused, match="not found"):
        list(state.get_log(actor_id="ff" * 16))
    actor = ray.remote(Thing).remote()
    ray.get(actor.quick.remote())
    with pytest.raises(ValueError, match="Must be one of 'out' or 'err'"):
        list(state.get_log(actor_id=actor._actor_id.hex(), suffix="x"))


def test_rows_for_people(ray: Ray, common: Any) -> None:
    node = {"resources_total": {"CPU": 2.0, "memory": 3 << 30}, "start_time_ms": 0, "x": 1}
    told = common.NodeState.humanify(node)
    assert told["resources_total"] == {"CPU": 2.0, "memory": "3.000 GiB"} and told["x"] == 1
    assert told["start_time_ms"].startswith(("1970-01-01 ", "1969-12-31 "))
    assert common.ObjectState.humanify({"object_size": 2000})["object_size"] == "1.953 KiB"
    assert (
        common.Humanify.memory(10) == "10.000 B" and common.Humanify.memory(5 << 20)[:5] == "5.000"
    )
    assert common.RuntimeEnvState.humanify({"creation_time_ms": 1500})["creation_time_ms"] == (
        "0:00:01.500000"
    )
    worker = {"worker_launch_time_ms": -1, "worker_launched_time_ms": None}
    assert common.WorkerState.humanify(worker) == {
        "worker_launch_time_ms": "",
        "worker_launched_time_ms": None,
    }
    events = [{"state": "RUNNING", "created_ms": 0.0}, {"state": "FINISHED"}]
    assert isinstance(common.TaskState.humanify({"events": events})["events"][0]["created_ms"], str)


def test_rows_out_of_dicts(ray: Ray, common: Any, refused: Any) -> None:
    kinds = common.StateResource
    assert common.resource_to_schema(kinds.TASKS) is common.TaskState
    columns = {"node_id": "ff", "node_ip": "x", "more": 1}
    plain = common.filter_fields(columns, common.NodeState, detail=False)
    assert (plain["node_id"], plain["state"], "more" in plain) == ("ff", None, False)
    assert "start_time_ms" in common.filter_fields({}, common.NodeState, detail=True)
    cells = dict.fromkeys(common.ClusterEventState.list_columns(), "x") | {"custom_fields": {}}
    assert common.dict_to_state(cells, kinds.CLUSTER_EVENTS).message == "x"
    with pytest.raises(refused, match="Failed to convert"):
        common.dict_to_state({"colour": 1}, kinds.CLUSTER_EVENTS)
