"""init, shutdown and is_initialized: arguments, results, repetition, what survives."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from .helpers import Ray, process_gone, wait_until

Start = Callable[..., Any]


def test_is_initialized_follows_init_and_shutdown(ray_fresh: Ray, start: Start) -> None:
    assert ray_fresh.is_initialized() is False
    start()
    assert ray_fresh.is_initialized() is True
    ray_fresh.shutdown()
    assert ray_fresh.is_initialized() is False


def test_shutdown_without_an_instance_does_nothing(ray_fresh: Ray) -> None:
    ray_fresh.shutdown()
    ray_fresh.shutdown(wait_for_processes=True)
    assert not ray_fresh.is_initialized()
    with pytest.raises(TypeError):
        ray_fresh.shutdown(True)


@pytest.mark.parametrize("question", ["nodes", "cluster_resources", "available_resources"])
def test_questions_about_the_cluster_do_not_start_an_instance(
    ray_fresh: Ray, question: str
) -> None:
    with pytest.raises(ray_fresh.exceptions.RaySystemError, match="has not been started yet"):
        getattr(ray_fresh, question)()
    assert not ray_fresh.is_initialized()


def test_second_init_is_refused(ray_fresh: Ray, start: Start) -> None:
    start()
    with pytest.raises(RuntimeError, match="twice"):
        start()
    assert ray_fresh.is_initialized()


def test_ignore_reinit_error_keeps_the_running_instance(ray_fresh: Ray, start: Start) -> None:
    start(num_cpus=2)
    ref = ray_fresh.put("kept")
    start(num_cpus=5, ignore_reinit_error=True)
    assert ray_fresh.cluster_resources()["CPU"] == 2
    assert ray_fresh.get(ref) == "kept"


def test_unknown_init_keyword_is_named(ray_fresh: Ray, start: Start) -> None:
    with pytest.raises(RuntimeError, match="no_such_argument"):
        start(no_such_argument=1)
    assert not ray_fresh.is_initialized()


def test_init_result_tells_addresses(start: Start) -> None:
    context = start()
    assert {"node_id", "session_dir", "address"} <= set(context.address_info)
    int(context.address_info["node_id"], 16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_init_result_is_a_mapping(start: Start) -> None:
    context = start()
    assert isinstance(context, Mapping)
    assert len(context) == len(list(context)) > 0
    assert context["node_id"] == context.address_info["node_id"]


def test_init_result_names_versions(start: Start) -> None:
    context = start()
    assert context.python_version.startswith("3.")
    assert isinstance(context.ray_version, str)


def test_init_result_is_a_context_manager(ray_fresh: Ray, start: Start) -> None:
    with start():
        assert ray_fresh.get(ray_fresh.put(1)) == 1
    assert not ray_fresh.is_initialized()


def test_context_manager_shuts_down_after_an_error(ray_fresh: Ray, start: Start) -> None:
    with pytest.raises(KeyError), start():
        raise KeyError("inside")
    assert not ray_fresh.is_initialized()


def test_node_id_of_init_is_the_id_of_the_only_node(ray_fresh: Ray, start: Start) -> None:
    context = start()
    assert [node["NodeID"] for node in ray_fresh.nodes()] == [context.address_info["node_id"]]


def test_zero_cpus_runs_tasks_that_ask_for_none(ray_fresh: Ray, start: Start) -> None:
    start(num_cpus=0)
    assert "CPU" not in ray_fresh.cluster_resources()
    free = ray_fresh.remote(num_cpus=0)(lambda: "ran")
    assert ray_fresh.get(free.remote()) == "ran"


def test_custom_resources_are_offered_and_zero_is_dropped(ray_fresh: Ray, start: Start) -> None:
    start(resources={"slots": 3, "none": 0})
    offered = ray_fresh.cluster_resources()
    assert offered["slots"] == 3.0
    assert "none" not in offered


def test_a_hundred_custom_resources(ray_fresh: Ray, start: Start) -> None:
    names = [f"kind{k}" for k in range(100)]
    start(resources=dict.fromkeys(names, 1))
    assert set(names) <= set(ray_fresh.cluster_resources())
    one = ray_fresh.remote(lambda: 1)
    assert sum(ray_fresh.get([one.options(resources={n: 1}).remote() for n in names])) == 100


@pytest.mark.ray_differs("limits, see docs/caveats.md")
def test_too_many_custom_resources_are_refused(start: Start) -> None:
    with pytest.raises(ValueError, match="at most 124 resources"):
        start(resources={f"kind{k}": 1 for k in range(125)})


@pytest.mark.parametrize("name", ["CPU", "GPU"])
def test_builtin_names_are_refused_among_custom_resources(start: Start, name: str) -> None:
    with pytest.raises((AssertionError, ValueError, RuntimeError), match=name):
        start(resources={name: 1})


def test_negative_resource_is_refused(start: Start) -> None:
    with pytest.raises(ValueError):
        start(resources={"slots": -1})


def test_auto_address_without_an_instance_is_a_connection_error(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WHIPRAY_TMPDIR", str(tmp_path))  # hides the sessions of other programs
    with pytest.raises(ConnectionError):
        start(address="auto", num_cpus=None)


def test_auto_address_finds_the_instance_of_another_driver(
    start: Start, run_script: Callable[..., str]
) -> None:
    start(resources={"mine": 3})
    found = run_script("""
        ray.init("auto", log_to_driver=False)
        print(ray.cluster_resources()["mine"])
    """)
    assert found.split()[-1] == "3.0"


def test_init_and_shutdown_can_be_repeated(ray_fresh: Ray, start: Start) -> None:
    @ray_fresh.remote
    def double(x: int) -> int:
        return 2 * x

    for cycle in range(3):
        start()
        assert ray_fresh.get([double.remote(cycle), ray_fresh.put(cycle)]) == [2 * cycle, cycle]
        ray_fresh.shutdown()


def test_actor_class_outlives_the_instance(ray_fresh: Ray, start: Start) -> None:
    @ray_fresh.remote
    class Box:
        def value(self) -> str:
            return "new"

    start()
    old = Box.remote()
    assert ray_fresh.get(old.value.remote()) == "new"
    ray_fresh.shutdown()
    start()
    assert ray_fresh.get(Box.remote().value.remote()) == "new"


def test_handle_of_an_earlier_session_is_unknown_to_kill(ray_fresh: Ray, start: Start) -> None:
    start()
    old = ray_fresh.remote(type("Box", (), {})).remote()
    ray_fresh.shutdown()
    start()
    with pytest.raises(ray_fresh.exceptions.ActorHandleNotFoundError):
        ray_fresh.kill(old)


def test_method_call_on_a_handle_of_an_earlier_session_fails(ray_fresh: Ray, start: Start) -> None:
    @ray_fresh.remote
    class Box:
        def value(self) -> int:
            return 1

    start()
    old = Box.remote()
    ray_fresh.get(old.value.remote())
    ray_fresh.shutdown()
    start()
    with pytest.raises(Exception):  # noqa: B017 - the class of the error is not promised
        ray_fresh.get(old.value.remote(), timeout=120)


def test_shutdown_ends_workers_and_actors(ray_fresh: Ray, start: Start) -> None:
    start()
    pid_of = ray_fresh.remote(lambda: os.getpid())

    @ray_fresh.remote
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    actor = Actor.remote()
    pids = ray_fresh.get([pid_of.remote(), actor.pid.remote()])
    ray_fresh.shutdown()
    wait_until(lambda: all(process_gone(pid) for pid in pids))


def test_environment_of_the_job_reaches_tasks_and_actors(ray_fresh: Ray, start: Start) -> None:
    start(runtime_env={"env_vars": {"COMPAT_JOB": "from job"}})

    @ray_fresh.remote
    def read() -> str | None:
        return os.environ.get("COMPAT_JOB")

    @ray_fresh.remote
    class Reader:
        def read(self) -> str | None:
            return os.environ.get("COMPAT_JOB")

    assert ray_fresh.get([read.remote(), Reader.remote().read.remote()]) == ["from job"] * 2
    assert "COMPAT_JOB" not in os.environ


def test_environment_values_must_be_text(start: Start) -> None:
    with pytest.raises(TypeError):
        start(runtime_env={"env_vars": {"COMPAT_JOB": 1}})


def test_namespace_of_init_is_shown_in_the_context(ray_fresh: Ray, start: Start) -> None:
    start(namespace="chosen")
    assert ray_fresh.get_runtime_context().namespace == "chosen"


@pytest.mark.parametrize("name", ["nodes", "cluster_resources", "available_resources"])
def test_cluster_questions_do_not_start_an_instance(ray_fresh: Ray, name: str) -> None:
    with pytest.raises(Exception, match=r"[iI]nit"):
        getattr(ray_fresh, name)()
    assert not ray_fresh.is_initialized()


def test_namespace_must_be_text(start: Start) -> None:
    with pytest.raises(TypeError, match="namespace"):
        start(namespace=3)
    with pytest.raises(ValueError, match="namespace"):
        start(namespace="")


@pytest.mark.ray_differs("Ray waits for such references")
def test_references_of_an_earlier_session_are_explained(ray_fresh: Ray, start: Start) -> None:
    start()
    ref = ray_fresh.put(1)
    assert ray_fresh.get(ref) == 1
    ray_fresh.shutdown()
    with pytest.raises(ray_fresh.exceptions.ObjectLostError, match="has ended in this process"):
        ref.future().result()
    start()
    for use in (ray_fresh.get, lambda ref: ray_fresh.wait([ref]), ray_fresh.cancel):
        with pytest.raises(ray_fresh.exceptions.ObjectLostError, match="has ended in this process"):
            use(ref)


@pytest.mark.ray_differs("in Ray the first values of two sessions may have the same id")
def test_a_reference_of_an_earlier_session_never_names_a_new_value(
    ray_fresh: Ray, start: Start
) -> None:
    start()
    old = ray_fresh.put("old")
    name = old.hex()
    ray_fresh.shutdown()
    start()
    new = ray_fresh.put("new")
    assert old.hex() == name != new.hex()
    copy = pickle.loads(pickle.dumps(old))
    assert copy.hex() == name
    with pytest.raises(ray_fresh.exceptions.ObjectLostError):
        ray_fresh.get(copy)


@pytest.mark.ray_differs("Ray lets the task fail that gets such a handle")
def test_handles_of_an_earlier_session_are_refused_in_the_caller(
    ray_fresh: Ray, start: Start
) -> None:
    @ray_fresh.remote
    class Actor:
        def call(self) -> None:
            pass

    @ray_fresh.remote
    def take(value: Any) -> None:
        pass

    start()
    actor = Actor.remote()
    ray_fresh.get(take.remote(actor))
    ray_fresh.shutdown()
    start()
    for use in (actor.call.remote, lambda: take.remote(actor), lambda: take.remote([actor])):
        with pytest.raises(
            ray_fresh.exceptions.ActorHandleNotFoundError, match="has ended in this process"
        ):
            use()


@pytest.mark.ray_differs("a session of Ray is shared with forked children, which then hang")
def test_every_use_in_a_forked_child_is_refused_with_the_reason(run_script: Any) -> None:
    output = run_script(
        """
        import os
        ray.init(**INIT)
        @ray.remote
        class Actor:
            def call(self):
                pass
        actor, ref, task = Actor.remote(), ray.put(1), ray.remote(lambda: 1)
        ray.get([actor.call.remote(), task.remote()])
        uses = [
            lambda: ray.get(ref),
            lambda: ray.put(2),
            lambda: ray.wait([ref]),
            task.remote,
            actor.call.remote,
            Actor.remote,
            lambda: ray.kill(actor),
            lambda: ray.cancel(ref),
            ray.nodes,
            ray.init,
        ]
        child = os.fork()
        if child == 0:
            for use in uses:
                try:
                    use()
                except RuntimeError as error:
                    assert "forked" in str(error), error
                else:
                    raise AssertionError(use)
            print("all refused", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(ray.get(task.remote()))
        """
    )
    assert output.split("\n")[:2] == ["all refused", "1"]


def test_the_directory_of_the_session_is_made_where_it_was_asked_for(start: Start) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        context = start(_temp_dir=folder)
        session = Path(context.address_info["session_dir"])
        assert session.is_dir() and session.is_relative_to(folder)


def test_a_dashboard_that_was_not_asked_for_has_no_address(start: Start) -> None:
    context = start(include_dashboard=False)
    assert not context.dashboard_url and not context.address_info["webui_url"]


def test_an_unknown_level_of_logging_is_refused(ray_fresh: Ray) -> None:
    with pytest.raises(ValueError, match="NONSENSE"):
        ray_fresh.init(logging_level="nonsense")
    assert not ray_fresh.is_initialized()
