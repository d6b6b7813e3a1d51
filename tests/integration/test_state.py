"""Listings of what is in a session."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest

import whipray as ray
from tests.compat.helpers import Gate, wait_until
from whipray import _core
from whipray.experimental.internal_kv import _internal_kv_put
from whipray.util import state
from whipray.util.state import common
from whipray.util.state.exception import RayStateApiException


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.init(num_cpus=2, namespace="here", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def gate(tmp_path):
    found = Gate(tmp_path / "gate")
    yield found
    found.open()


@ray.remote(num_cpus=0)
def wait(gate):
    gate.wait()


@ray.remote
def take(value):
    return value


@ray.remote(max_retries=0)
def fail():
    raise ValueError("no")


@ray.remote
def get(refs):
    return ray.get(refs)


class Thing:
    def wait(self, gate):
        gate.wait()

    def quick(self):
        return 1


def one(ref):
    row = state.get_task(ref)
    assert row is not None
    return row


def reaches(ref, wanted):
    return wait_until(lambda: one(ref).state == wanted)


# ---- tasks ---------------------------------------------------------------------------------------


def test_states_of_tasks(gate):
    running = wait.remote(gate)
    after = take.remote(running)
    reaches(running, "RUNNING")
    assert one(after).state == "PENDING_ARGS_AVAIL"
    blocked = get.remote([running])
    reaches(blocked, "RUNNING_IN_RAY_GET")
    gate.open()
    ray.get([after, blocked])
    assert {one(ref).state for ref in (running, after, blocked)} == {"FINISHED"}
    failed = fail.remote()
    ray.wait([failed])
    assert one(failed).state == "FAILED"
    assert one(failed).error_type == "TASK_EXECUTION_EXCEPTION"


def task_ids():
    """Of all records, as fast as they can be read."""
    ids, chunk = set(), 0
    while (found := _core.task_rows(chunk)) is not None:
        ids.update(row["id"].hex() for row in found)
        chunk += 1
    return ids


def test_tasks_that_go_on_meanwhile_are_listed():
    @ray.remote
    def spin():
        end = time.perf_counter() + 1e-4
        while time.perf_counter() < end:
            pass

    for _ in range(5):
        refs = [spin.remote() for _ in range(3000)]
        wanted = {ref.task_id().hex() for ref in refs}
        while True:
            assert wanted <= task_ids()
            if len(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) == len(refs):
                break


def test_why_tasks_failed():
    @ray.remote(max_retries=0)
    def die():
        os._exit(3)

    @ray.remote
    class Actor:
        def die(self):
            os._exit(3)

    actor = Actor.remote()
    refs = [fail.remote(), die.remote(), actor.die.remote(), actor.die.remote()]
    ray.wait(refs, num_returns=len(refs))
    types = ["TASK_EXECUTION_EXCEPTION", "WORKER_DIED", "ACTOR_DIED", "ACTOR_DIED"]
    assert [one(ref).error_type for ref in refs] == types
    assert one(refs[0]).error_message is None
    assert "exited with code 3" in one(refs[1]).error_message
    assert "class_name: " in one(refs[3]).error_message
    found = state.list_tasks(filters=[("error_type", "=", "WORKER_DIED")])
    assert [row.task_id for row in found] == [refs[1].task_id().hex()]


def test_a_task_that_waits_for_a_worker(gate):
    busy = [wait.options(num_cpus=1).remote(gate) for _ in range(2)]
    for ref in busy:
        reaches(ref, "RUNNING")
    assert one(take.remote(1)).state == "PENDING_NODE_ASSIGNMENT"


def test_names_of_tasks(gate):
    def inner(x, y=[gate, Thing]):  # noqa: B006
        return x, y

    refs = [take.remote(1), take.options(name="other").remote(1), ray.remote(inner).remote(1)]
    ray.get(refs)
    assert [one(ref).name for ref in refs] == ["take", "other", "inner"]
    assert [one(ref).func_or_class_name for ref in refs] == ["take", "take", "inner"]


def test_where_a_task_runs(gate):
    ref = wait.remote(gate)
    reaches(ref, "RUNNING")
    row = one(ref)
    (worker,) = state.list_workers(filters=[("pid", "=", row.worker_pid)])
    assert worker.worker_id == row.worker_id and worker.worker_type == "WORKER"
    assert row.type == "NORMAL_TASK" and row.actor_id is None
    assert row.job_id == ray.get_runtime_context().get_job_id()
    assert row.node_id == ray.get_runtime_context().get_node_id()


def test_tasks_of_a_driver_that_has_gone_keep_its_job(gate):
    program = f"""
        import whipray as ray
        from tests.compat.helpers import Gate

        ray.init(address={ray.get_runtime_context().gcs_address!r}, namespace="here")

        @ray.remote(num_cpus=0)
        class Stays:
            def run(self, path):
                from tests.compat.helpers import Gate

                Gate(path + ".begun").open()
                Gate(path).wait()

        stays = Stays.options(name="stays", lifetime="detached").remote()
        ray.get(stays.__ray_ready__.remote())
        stays.run.remote({gate.path!r})
        Gate({gate.path + ".begun"!r}).wait()
        print(ray.get_runtime_context().get_job_id())
    """
    run = [sys.executable, "-c", textwrap.dedent(program)]
    job = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    wait_until(
        lambda: job not in [row.job_id for row in state.list_jobs() if row.status == "RUNNING"]
    )
    (row,) = [row for row in state.list_tasks() if row.name == "Stays.run"]
    assert row.job_id == job != ray.get_runtime_context().get_job_id()
    ray.kill(ray.get_actor("stays"))


def test_tasks_without_references_are_gone():
    before = {row.task_id for row in state.list_tasks(limit=10_000)}
    ref = take.remote(1)
    ray.get(ref)
    task = ref.task_id().hex()
    assert task not in before
    assert state.get_task(task) is not None
    del ref
    wait_until(lambda: state.get_task(task) is None)


def test_parents_of_tasks():
    @ray.remote
    def parent():
        ref = take.remote(1)
        ray.get(ref)
        found = state.get_task(ref)
        return found.parent_task_id, ray.get_runtime_context().get_task_id()

    found, task = ray.get(parent.remote())
    assert found == task


# ---- actors --------------------------------------------------------------------------------------


def test_actors(gate):
    actor = ray.remote(Thing).options(name="thing").remote()
    ray.get(actor.quick.remote())
    row = state.get_actor(actor._actor_id.hex())
    assert (row.class_name, row.name, row.ray_namespace) == ("Thing", "thing", "here")
    assert row.state == "ALIVE" and row.is_detached is False and row.num_restarts == 0
    assert row.pid == ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    running = actor.wait.remote(gate)
    waiting = actor.quick.remote()
    reaches(running, "RUNNING")
    assert one(running).name == "Thing.wait" and one(running).type == "ACTOR_TASK"
    assert one(running).actor_id == row.actor_id
    assert one(waiting).state == "SUBMITTED_TO_WORKER"
    ray.kill(actor)
    wait_until(lambda: state.get_actor(row.actor_id).state == "DEAD")
    assert "killed" in str(state.get_actor(row.actor_id).death_cause)


def test_an_actor_that_can_not_be_placed():
    actor = ray.remote(num_cpus=7)(Thing).remote()
    assert state.get_actor(actor._actor_id.hex()).state == "PENDING_CREATION"
    ray.kill(actor)


# ---- objects, processes, jobs --------------------------------------------------------------------


def test_an_environment_is_that_of_the_work_and_not_of_what_had_its_place(gate):
    for number in range(1, 32):  # as if pools with these numbers had been there
        key = number.to_bytes(4, "little")
        _internal_kv_put(key, _core.pack("old"), namespace="whipray.environments")
    coloured = wait.options(runtime_env={"env_vars": {"COLOUR": "red"}})
    refs = [wait.remote(gate), coloured.remote(gate)]
    texts = [one(ref).runtime_env_info["serialized_runtime_env"] for ref in refs]
    assert texts == ["{}", '{"env_vars": {"COLOUR": "red"}}']


def test_objects(gate):
    large, small = ray.put(bytes(1 << 20)), ray.put(1)
    assert state.get_objects(large.hex())[0].object_size >= 1 << 20
    assert 0 < state.get_objects(small.hex())[0].object_size < 100
    assert state.get_objects(large.hex())[0].pid == os.getpid()
    pending = wait.remote(gate)
    reaches(pending, "RUNNING")
    (row,) = state.get_objects(pending.hex())
    assert row.object_size == -1 and row.task_status == "SUBMITTED_TO_WORKER"
    gone = large.hex()
    del large
    wait_until(lambda: state.get_objects(gone) is None)


def test_placement_groups():
    group = ray.util.placement_group([{"CPU": 1}], name="the-group")
    ray.get(group.ready())
    row = state.get_placement_group(group.id.hex())
    assert (row.name, row.state) == ("the-group", "CREATED")
    assert row.bundles[0]["unit_resources"] == {"CPU": 1}
    ray.util.remove_placement_group(group)
    wait_until(lambda: state.get_placement_group(group.id.hex()).state == "REMOVED")


def test_workers_jobs_and_nodes():
    (driver,) = state.list_workers(filters=[("worker_type", "=", "driver")])
    assert driver.pid == os.getpid() and driver.is_alive
    (job,) = state.list_jobs()
    assert job.status == "RUNNING" and job.type == "DRIVER"
    assert job.driver_info.pid == str(os.getpid())
    found = state.get_job(job.job_id)
    assert found.driver_info == job.driver_info and found.start_time and job.start_time is None
    (node,) = state.list_nodes(detail=True)
    assert node.is_head_node and node.resources_total["CPU"] == 2
    assert state.get_node(node.node_id) == node
    assert state.get_worker(driver.worker_id).pid == os.getpid()


# ---- how one asks --------------------------------------------------------------------------------


def test_filters():
    refs = [take.options(name=name).remote(1) for name in ("one", "two", "two")]
    ray.get(refs)
    assert len(state.list_tasks(filters=[("name", "=", "TWO")])) == 2
    both = [("name", "!=", "two"), ("name", "!=", "take"), ("state", "=", "finished")]
    assert "one" in {row.name for row in state.list_tasks(filters=both)}
    gone = state.list_workers(filters=[("is_alive", "=", "false")])  # or about to start
    assert not any(worker.is_alive for worker in gone)
    assert state.list_workers(filters=[("pid", "=", str(os.getpid()))])


def test_names_of_tasks_and_calls(gate):
    """Of those that wait, run and are done, with arguments in their records and outside."""
    actor = ray.remote(Thing).remote()
    large = [bytes(2000)] * 2
    refs = [
        *(take.options(name="t").remote(value) for value in (1, large)),
        actor.quick.options(name="c").remote(),
        actor.quick.options(name="r", retry_exceptions=[KeyError]).remote(),
        take.options(name="a\0b").remote(1),
        actor.quick.remote(),
    ]
    runs = wait.options(name="rünning").remote(gate)
    waits = take.options(name="w" * 112).remote(runs)
    ray.get(refs)
    assert [one(ref).name for ref in refs] == ["t", "t", "c", "r", "a\0b", "Thing.quick"]
    own = ["take", "take", "Thing.quick", "Thing.quick", "take", "Thing.quick"]
    assert [one(ref).func_or_class_name for ref in refs] == own
    assert [one(ref).name for ref in (runs, waits)] == ["rünning", "w" * 112]
    gate.open()
    ray.get(waits)
    assert one(waits).name == "w" * 112


def test_names_of_tasks_leave_nothing():
    def functions():
        return int(_core.audit()["functions"])

    ray.get([take.options(name="first").remote(1), take.remote(1)])
    before = functions()
    for start in range(0, 3000, 1000):
        ray.get([take.options(name=f"task {i}").remote(1) for i in range(start, start + 1000)])
    assert functions() == before


def test_wrong_filters():
    with pytest.raises(ValueError, match="predicate"):
        state.list_tasks(filters=[("name", "<", "x")])
    with pytest.raises(RayStateApiException, match="not supported"):
        state.list_tasks(filters=[("colour", "=", "x")])
    with pytest.raises(RayStateApiException, match="not supported"):
        state.list_actors(filters=[("death_cause", "=", "x")])


def test_limit_and_detail():
    refs = [take.remote(1) for _ in range(150)]
    ray.get(refs)
    assert len(state.list_tasks()) == 100
    assert len(state.list_tasks(limit=120)) == 120
    plain, full = state.list_nodes()[0], state.list_nodes(detail=True)[0]
    assert plain.start_time_ms is None and full.start_time_ms > 1_700_000_000_000


def test_rows_are_like_dicts():
    row = state.list_nodes()[0]
    assert row["state"] == row.state == row.get("state") == row.asdict()["state"] == "ALIVE"
    assert row.get("colour", 1) == 1
    assert "node_id" in type(row).columns() and "node_id" in type(row).filterable_columns()
    assert "start_time_ms" not in type(row).base_columns()


def test_summaries():
    actor = ray.remote(Thing).remote()
    refs = [take.options(name="summed").remote(i) for i in range(3)]
    ray.get([*refs, actor.quick.remote()])
    tasks = state.summarize_tasks()["cluster"]
    assert tasks["summary"]["summed"]["state_counts"] == {"FINISHED": 3}
    assert tasks["total_tasks"] >= 3
    actors = state.summarize_actors()["cluster"]
    assert actors["summary"]["Thing"]["state_counts"]["ALIVE"] >= 1
    objects = state.summarize_objects()["cluster"]
    assert objects["total_objects"] >= 3 and objects["callsite_enabled"] is False


def test_what_is_not_recorded_says_so():
    for ask in (state.list_cluster_events, state.list_runtime_envs):
        with pytest.raises(NotImplementedError):
            ask()


def test_an_object_asks_as_the_functions_do():
    client = state.StateApiClient()
    actor = ray.remote(Thing).remote()
    refs = [take.options(name="asked").remote(i) for i in range(3)]
    ray.get([*refs, actor.quick.remote()])
    options = common.ListApiOptions(filters=[("name", "=", "asked")], limit=2, detail=True)
    listed = client.list(common.StateResource.TASKS, options)
    assert [row.name for row in listed] == ["asked"] * 2 and listed[0].language == "PYTHON"
    task = client.get(common.StateResource.TASKS, listed[0].task_id, common.GetApiOptions())
    assert task == state.get_task(listed[0].task_id)
    assert client.get(common.StateResource.ACTORS, "00" * 16) is None
    with pytest.raises(ValueError, match="Can't get RUNTIME_ENVS by id"):
        client.get(common.StateResource.RUNTIME_ENVS, "x")
    counts = client.summary(common.SummaryResource.TASKS, options=common.SummaryApiOptions())
    assert counts["cluster"]["summary"]["asked"]["state_counts"] == {"FINISHED": 3}


def test_filters_that_contradict_each_other_give_nothing_and_a_warning():
    options = common.ListApiOptions(filters=[("name", "=", "a"), ("name", "=", "b")])
    with pytest.warns(UserWarning, match="multiple '=' filters with the same key 'name'"):
        assert state.StateApiClient().list(common.StateResource.TASKS, options) == []
    with pytest.raises(ValueError, match="Unsupported filter predicate <"):
        common.ListApiOptions(filters=[("pid", "<", 3)])


def written(**of):
    return "".join(state.get_log(**of))


def test_logs_of_workers():
    @ray.remote
    class Talker:
        def say(self, *lines):
            for line in lines:
                print(line, flush=True)
            return os.getpid(), ray.get_runtime_context().get_task_id()

    talker = Talker.remote()
    said = talker.say.remote("\x1b[31mred\x1b[0m", "two", "three")
    pid, task = ray.get(said)
    name = f"worker-{pid}.log"
    wait_until(lambda: name in state.list_logs().get("worker", ()))
    wait_until(lambda: "three" in written(pid=pid))
    assert {"whiprayd", "fork_server"} <= set(state.list_logs())
    assert state.list_logs(glob_filter="worker-*") == {"worker": state.list_logs()["worker"]}
    for of in ({"filename": name}, {"actor_id": talker._actor_id.hex()}, {"task_id": task}):
        assert written(**of) == "\x1b[31mred\x1b[0m\ntwo\nthree\n"
    assert written(pid=pid, tail=2) == "two\nthree\n" and written(pid=pid, tail=0) == ""
    assert written(pid=pid, filter_ansi_code=True).startswith("red\n")
    assert next(state.get_log(pid=pid, encoding=None)).endswith(b"three\n")
    followed = state.get_log(pid=pid, follow=True, tail=1)
    assert next(followed) == "three\n"
    ray.get(talker.say.remote("four"))
    assert next(followed) == "four\n"


def test_logs_that_are_not_there():
    for of in ({"filename": "no.log"}, {"filename": "../pid"}, {"actor_id": "00" * 16}, {}):
        with pytest.raises(RayStateApiException, match=r"log file|name a file|not found"):
            state.get_log(**of)


def test_reading_while_records_come_and_go():
    @ray.remote
    class Churn:
        def run(self, n):
            for _ in range(n):
                ray.get([take.remote(bytes(i)) for i in range(50)])
            return True

    churn = Churn.options(num_cpus=0).remote()
    done = churn.run.remote(60)
    looks = 0
    while not ray.wait([done], timeout=0)[0] or looks < 5:
        for row in state.list_tasks(limit=10_000):
            assert row.state and len(row.task_id) == 48
        for row in state.list_objects(limit=10_000):
            assert row.object_size >= -1
        looks += 1
    assert ray.get(done)
