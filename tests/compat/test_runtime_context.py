"""get_runtime_context in the driver, in tasks and in actors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .helpers import Gate, Journal, Ray, process_gone, wait_until


def ids(ray: Ray) -> dict[str, Any]:
    context = ray.get_runtime_context()
    return {
        "job": context.get_job_id(),
        "node": context.get_node_id(),
        "worker": context.get_worker_id(),
        "task": context.get_task_id(),
        "actor": context.get_actor_id(),
    }


def is_hex(text: str) -> bool:
    return isinstance(text, str) and len(text) > 0 and int(text, 16) >= 0


def test_driver_has_job_node_and_worker(ray: Ray) -> None:
    mine = ids(ray)
    assert is_hex(mine["job"])
    assert is_hex(mine["node"])
    assert is_hex(mine["worker"])
    assert mine["actor"] is None


def test_driver_has_no_task(ray: Ray) -> None:
    assert ray.get_runtime_context().get_task_id() is None


def test_task_has_ids_and_no_actor(ray: Ray) -> None:
    theirs = ray.get(ray.remote(lambda: ids(ray)).remote())
    assert all(is_hex(theirs[key]) for key in ("job", "node", "worker", "task"))
    assert theirs["actor"] is None


def test_job_and_node_are_shared(ray: Ray) -> None:
    mine, theirs = ids(ray), ray.get(ray.remote(lambda: ids(ray)).remote())
    assert (mine["job"], mine["node"]) == (theirs["job"], theirs["node"])
    assert mine["worker"] != theirs["worker"]


def test_every_task_has_its_own_id(ray: Ray) -> None:
    task = ray.remote(lambda: ray.get_runtime_context().get_task_id())
    assert len(set(ray.get([task.remote() for _ in range(5)]))) == 5


def test_worker_id_belongs_to_the_process(ray: Ray) -> None:
    @ray.remote
    def who() -> tuple[int, str]:
        return os.getpid(), ray.get_runtime_context().get_worker_id()

    pairs = set(ray.get([who.remote() for _ in range(8)]))
    assert len({pid for pid, _ in pairs}) == len({worker for _, worker in pairs}) == len(pairs)


def test_actor_knows_its_id_and_name(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def me(self) -> tuple[str, str]:
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name()

    actor = Actor.options(name="context of a named actor").remote()
    actor_id, name = ray.get(actor.me.remote())
    assert actor_id == actor._actor_id.hex()
    assert name == "context of a named actor"


def test_actor_id_is_known_in_the_constructor(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.id = ray.get_runtime_context().get_actor_id()

        def get(self) -> str:
            return self.id

    actor = Actor.remote()
    assert ray.get(actor.get.remote()) == actor._actor_id.hex()


def test_async_actor_knows_its_ids(ray: Ray) -> None:
    @ray.remote
    class Async:
        async def me(self) -> tuple[str, str]:
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_task_id()

    actor = Async.remote()
    (actor_id, first), (_, second) = ray.get([actor.me.remote(), actor.me.remote()])
    assert actor_id == actor._actor_id.hex()
    assert first != second


def test_unnamed_actor_has_an_empty_name(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def name(self) -> str | None:
            return ray.get_runtime_context().get_actor_name()

    assert not ray.get(Actor.remote().name.remote())


def test_task_name_is_the_function_or_the_option(ray: Ray) -> None:
    @ray.remote
    def whoami() -> str:
        return str(ray.get_runtime_context().get_task_name())

    assert ray.get(whoami.remote()) == "whoami"
    assert ray.get(whoami.options(name="given").remote()) == "given"
    assert ray.get(whoami.remote()) == "whoami"
    assert ray.get([whoami.options(name=f"{i}").remote() for i in range(3)]) == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["ö" * 50, "n" * 112, "n" * 113, "long" * 500, "a b\tc"])
def test_tasks_may_have_any_name(ray: Ray, name: str) -> None:
    @ray.remote(max_retries=0)
    def whoami(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        if not args:
            raise KeyError("none")
        return str(ray.get_runtime_context().get_task_name()), args, kwargs

    named = whoami.options(name=name)
    assert ray.get(named.remote(1, x=2)) == (name, (1,), {"x": 2})
    big = bytes(1 << 20)
    assert ray.get(named.remote(ray.put(3), big, x=bytes(300))) == (
        name,
        (3, big),
        {"x": bytes(300)},
    )
    with pytest.raises(KeyError) as caught:
        ray.get(named.remote())
    assert f"ray::{name}()" in str(caught.value)


def test_names_that_can_not_be_encoded_are_refused(ray: Ray) -> None:
    @ray.remote
    def task() -> None: ...

    @ray.remote
    class Actor:
        def call(self) -> None: ...

    actor = Actor.remote()
    for name in ("\ud800", "n" * 200 + "\ud800"):
        for named in (task, actor.call):
            with pytest.raises(UnicodeEncodeError, match="surrogates"):
                named.options(name=name).remote()
    ray.get([task.remote(), actor.call.remote()])


def test_retries_and_generators_keep_their_name(ray: Ray, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    @ray.remote(max_retries=1)
    def dies_once() -> str:
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return str(ray.get_runtime_context().get_task_name())

    @ray.remote
    def items() -> Iterator[str]:
        for _ in range(2):
            yield str(ray.get_runtime_context().get_task_name())

    assert ray.get(dies_once.options(name="again").remote()) == "again"
    assert [ray.get(ref) for ref in items.options(name="items of").remote()] == ["items of"] * 2


def test_task_function_name_is_qualified(ray: Ray) -> None:
    @ray.remote
    def whoami() -> str:
        return str(ray.get_runtime_context().get_task_function_name())

    assert ray.get(whoami.options(name="other").remote()).endswith("whoami")


def test_the_main_module_is_called_by_its_file(run_script: Any) -> None:
    output = run_script(
        """
        def name():
            return ray.get_runtime_context().get_task_function_name()

        class Actor:
            def method(self):
                return name()

        ray.init(**INIT)
        print(ray.get(ray.remote(name).remote()))
        print(ray.get(ray.remote(Actor).remote().method.remote()))
        """
    )
    assert "driver.name\n" in output
    assert "driver.Actor.method\n" in output


def test_actor_facts_after_its_last_handle_has_gone(ray: Ray, gate: Any) -> None:
    gone = gate()

    @ray.remote
    class Actor:
        def facts(self) -> Any:
            gone.wait()
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.was_current_actor_reconstructed

    actor = Actor.remote()
    own_id, facts = actor._actor_id.hex(), actor.facts.remote()
    del actor
    gone.open()
    assert ray.get(facts) == (own_id, False)


def test_current_actor_is_a_handle_to_itself(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def me(self) -> list[Any]:
            return [ray.get_runtime_context().current_actor]

    actor = Actor.remote()
    assert ray.get(actor.me.remote()) == [actor]


class Selfish:
    """Has handles to itself, and waits until it is told to go on."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def ping(self, what: Any) -> Any:
        self.journal.add(what)
        return what

    def keep(self, ray: Ray, where: str) -> Any:
        handle = ray.get_runtime_context().current_actor
        self.kept = [handle, ray.put([handle])] if where == "here" else handle
        return [handle] if where == "away" else None

    def call(self, ray: Ray, gate: Any, through: Any) -> bool:
        gate.wait()
        me = ray.get_runtime_context().current_actor
        if through is None:
            ray.get(me.ping.remote("self"))
        else:
            ray.get(through.remote([me]))
        return bool(me == ray.get_runtime_context().current_actor)


@pytest.mark.parametrize("through_a_task", [False, True])
def test_current_actor_once_the_last_handle_has_gone(
    ray: Ray, tmp_path: Path, through_a_task: bool
) -> None:
    @ray.remote
    def call(handles: list[Any]) -> Any:
        return ray.get(handles[0].ping.remote("task"))

    gate, journal = Gate(tmp_path / "gate"), Journal(tmp_path / "journal")
    actor = ray.remote(max_concurrency=2)(Selfish).remote(journal)
    called = actor.call.remote(ray, gate, call if through_a_task else None)
    del actor
    gate.open()
    assert ray.get(called)
    wait_until(lambda: journal.lines() == ["task" if through_a_task else "self"])


@pytest.mark.parametrize("where", ["here", "away"])
def test_current_actor_does_not_keep_the_actor_alive(ray: Ray, tmp_path: Path, where: str) -> None:
    actor = ray.remote(Selfish).remote(Journal(tmp_path / "notes"))
    pid = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    away = ray.get(actor.keep.remote(ray, where))
    assert where == "here" or ray.get(away[0].ping.remote(1)) == 1
    del actor
    wait_until(lambda: process_gone(pid))
    if where == "away":
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(away[0].ping.remote(2))


def test_current_actor_outside_an_actor_is_an_error(ray: Ray) -> None:
    with pytest.raises(RuntimeError):
        assert ray.get_runtime_context().current_actor


def test_assigned_resources(ray: Ray) -> None:
    @ray.remote(num_cpus=0.5)
    def given() -> Any:
        return dict(ray.get_runtime_context().get_assigned_resources())

    assert ray.get(given.remote()) == {"CPU": 0.5}


def test_assigned_resources_in_a_thread_of_a_task(ray: Ray) -> None:
    @ray.remote(num_cpus=0.5)
    def given() -> Any:
        seen: list[Any] = []
        ask = ray.get_runtime_context().get_assigned_resources
        thread = threading.Thread(target=lambda: seen.append(dict(ask())))
        thread.start()
        thread.join()
        return seen

    assert ray.get(given.remote()) == [{"CPU": 0.5}]


def test_namespace_is_the_same_everywhere(ray: Ray) -> None:
    mine = ray.get_runtime_context().namespace
    assert isinstance(mine, str)
    assert ray.get(ray.remote(lambda: ray.get_runtime_context().namespace).remote()) == mine


def test_get_returns_a_mapping(ray: Ray) -> None:
    values = ray.get_runtime_context().get()
    assert {"job_id", "node_id"} <= set(values)


def test_environment_of_a_task(ray: Ray) -> None:
    @ray.remote(runtime_env={"env_vars": {"COMPAT_TASK": "seen"}})
    def read() -> tuple[Any, Any]:
        env = ray.get_runtime_context().runtime_env
        return os.environ.get("COMPAT_TASK"), env["env_vars"]["COMPAT_TASK"]

    assert ray.get(read.remote()) == ("seen", "seen")
    plain = ray.remote(lambda: os.environ.get("COMPAT_TASK"))
    assert ray.get(plain.remote()) is None


def test_environment_of_an_actor_and_its_children(ray: Ray) -> None:
    @ray.remote(runtime_env={"env_vars": {"COMPAT_PARENT": "p"}}, num_cpus=0)
    class Parent:
        def both(self) -> tuple[Any, Any]:
            child = ray.remote(lambda: os.environ.get("COMPAT_PARENT"))
            return os.environ.get("COMPAT_PARENT"), ray.get(child.remote())

    assert ray.get(Parent.remote().both.remote()) == ("p", "p")


def test_reconstruction_flag_is_false_at_first(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def flag(self) -> bool:
            return bool(ray.get_runtime_context().was_current_actor_reconstructed)

    assert ray.get(Actor.remote().flag.remote()) is False


def test_ids_are_objects_with_text_forms(ray: Ray) -> None:
    job = ray.get_runtime_context().get_job_id()
    assert ray.JobID.from_hex(job).hex() == job
    node = ray.get_runtime_context().get_node_id()
    assert ray.NodeID.from_hex(node) == ray.NodeID.from_hex(node)
    assert ray.ActorID.nil().is_nil()
    assert len({ray.NodeID.from_random(), ray.NodeID.from_random()}) == 2


def test_gpu_ids_without_gpus(ray: Ray) -> None:
    assert ray.get_gpu_ids() == []
    assert ray.get(ray.remote(lambda: ray.get_gpu_ids()).remote()) == []


def test_accelerators_of_every_kind_are_named(ray: Ray) -> None:
    kinds = {"GPU", "TPU", "neuron_cores", "HPU", "NPU", "RBLN"}
    ids = ray.get(ray.remote(lambda: ray.get_runtime_context().get_accelerator_ids()).remote())
    assert kinds <= set(ids)
    assert not any(ids.values())
    assert set(ray.get_runtime_context().get_accelerator_ids()) == set(ids)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_calls_named_by_their_caller(ray: Ray, concurrency: int) -> None:
    @ray.remote(max_concurrency=concurrency)
    class Actor:
        def name(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return ray.get_runtime_context().get_task_name(), args, kwargs

        def fail(self) -> None:
            raise KeyError("named")

    actor = Actor.remote()
    named = actor.name.options(name="one call")
    assert ray.get(named.remote()) == ("one call", (), {})
    assert ray.get(named.remote(1, ray.put(2), b=3, c=4)) == ("one call", (1, 2), {"b": 3, "c": 4})
    assert ray.get(actor.name.remote(1, a=2)) == ("Actor.name", (1,), {"a": 2})
    big = bytes(1 << 20)
    assert ray.get(named.remote(big, x=big)) == ("one call", (big,), {"x": big})
    with pytest.raises(KeyError) as caught:
        ray.get(actor.fail.options(name="bad call").remote())
    assert "ray::bad call()" in str(caught.value)


def test_coroutines_named_by_their_caller(ray: Ray) -> None:
    @ray.remote
    class Actor:
        async def name(self, number: int) -> tuple[str, int]:
            await asyncio.sleep(0.01)
            return ray.get_runtime_context().get_task_name(), number

    actor = Actor.remote()
    calls = [actor.name.options(name=f"call {i}").remote(i) for i in range(5)]
    assert ray.get(calls) == [(f"call {i}", i) for i in range(5)]
    assert ray.get(actor.name.remote(7)) == ("Actor.name", 7)


def test_the_session_has_a_name(ray: Ray) -> None:
    name = ray.get_runtime_context().get_session_name()
    assert name.startswith("session_")
    assert (
        ray.get(ray.remote(lambda: ray.get_runtime_context().get_session_name()).remote()) == name
    )


def test_ids_differ_in_their_first_digits(ray: Ray) -> None:
    class Plain:
        def ids(self) -> tuple[str, str, str]:
            context = ray.get_runtime_context()
            return context.get_worker_id(), context.get_actor_id(), context.get_task_id()

    actors = [ray.remote(num_cpus=0)(Plain).remote() for _ in range(4)]
    found = ray.get([actor.ids.remote() for actor in actors])
    for kind in zip(*found, strict=True):
        assert len({shown[:8] for shown in kind}) == 4
