"""`JobConfig` and `LoggingConfig`: what a driver says about its job, and how its logs look."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from .helpers import Ray, process_gone, wait_until


@pytest.fixture
def job_config(part: Callable[[str], Any]) -> Any:
    return part("job_config").JobConfig


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Puts the root logger back as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def test_wrong_settings_are_refused(job_config: Any) -> None:
    with pytest.raises(TypeError, match="code search path"):
        job_config(code_search_path="/tmp")
    with pytest.raises(ValueError, match="must be one of `detached`, `non_detached`"):
        job_config(default_actor_lifetime="for ever")


def test_settings_can_be_changed(job_config: Any) -> None:
    config = job_config(metadata={"a": "1"})
    config.set_metadata("b", "2")
    config.set_ray_namespace("space")
    config.set_runtime_env({"env_vars": {"A": "1"}})
    assert config.metadata == {"a": "1", "b": "2"}
    assert config.ray_namespace == "space"
    assert config.runtime_env == {"env_vars": {"A": "1"}}
    assert config.jvm_options == [] and config.code_search_path == []


def test_from_json_ignores_what_it_does_not_know(job_config: Any) -> None:
    config = job_config.from_json({"metadata": {"a": "1"}, "ray_namespace": "n", "more": 3})
    assert config.metadata == {"a": "1"} and config.ray_namespace == "n"


@pytest.mark.time_limit(120)
def test_namespace_environment_and_lifetime(start: Callable[..., Any], engine: Ray) -> None:
    JobConfig = import_module(f"{engine.__name__}.job_config").JobConfig
    start(
        job_config=JobConfig(
            ray_namespace="of the job",
            runtime_env={"env_vars": {"OF_THE_JOB": "yes"}},
            default_actor_lifetime="detached",
        )
    )

    @engine.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    @engine.remote
    def look() -> tuple[str | None, str]:
        actor = Actor.options(name="made by a task").remote()
        engine.get(actor.pid.remote())
        return os.environ.get("OF_THE_JOB"), engine.get_runtime_context().namespace

    assert engine.get_runtime_context().namespace == "of the job"
    assert engine.get(look.remote()) == ("yes", "of the job")
    actor = Actor.options(name="kept").remote()
    other = Actor.options(lifetime="non_detached").remote()
    pid, gone = engine.get([actor.pid.remote(), other.pid.remote()])
    del actor, other
    wait_until(lambda: process_gone(gone))
    again = engine.get_actor("kept")
    assert engine.get(again.pid.remote()) == pid
    assert engine.get(engine.get_actor("made by a task").pid.remote()) != pid


@pytest.mark.time_limit(120)
def test_arguments_of_init_count_more(start: Callable[..., Any], engine: Ray) -> None:
    JobConfig = import_module(f"{engine.__name__}.job_config").JobConfig
    job = JobConfig(ray_namespace="a", runtime_env={"env_vars": {"A": "1"}})
    start(job_config=job, namespace="b", runtime_env={"env_vars": {"B": "2"}})

    @engine.remote
    def look() -> tuple[str | None, str | None]:
        return os.environ.get("A"), os.environ.get("B")

    assert engine.get_runtime_context().namespace == "b"
    assert engine.get(look.remote()) == (None, "2")


# ---- logging -------------------------------------------------------------------------------------


def test_wrong_logging_is_refused(engine: Ray) -> None:
    with pytest.raises(ValueError, match="Invalid encoding type"):
        engine.LoggingConfig(encoding="XML")
    with pytest.raises(ValueError, match="Unknown python logging standard attribute: nothing"):
        engine.LoggingConfig(additional_log_standard_attrs=["nothing"])
    assert engine.LoggingConfig().to_dict() == {
        "encoding": "TEXT",
        "log_level": "INFO",
        "additional_log_standard_attrs": [],
    }
    assert engine.LoggingConfig.from_dict({"encoding": "JSON", "x": 1}).encoding == "JSON"


WRITES = """
    import logging, os, sys
    config = ray.LoggingConfig(encoding=os.environ["ENCODING"], log_level="WARNING",
                               additional_log_standard_attrs=["name"])
    context = ray.init(**INIT, logging_config=config)

    @ray.remote
    def write():
        logging.getLogger("app").info("too low")
        logging.getLogger("app").warning("of a %s", "task", extra={"mine": 7})
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger().exception("went wrong")
        return ray.get_runtime_context().get_task_id()

    @ray.remote(num_cpus=0)
    class Actor:
        def write(self):
            logging.getLogger("app").error("of an actor")
            return ray.get_runtime_context().get_actor_id()

    logging.getLogger("app").warning("of the driver")
    actor = Actor.options(name="known").remote()
    ids = ray.get(write.remote()), ray.get(actor.write.remote())
    sys.stdout.write("ids %s %s\\n" % ids)  # at once: records of the workers come at any time
"""


def _complete(output: str) -> bool:
    return all(text in output for text in ("ids ", "of a task", "went wrong", "of an actor"))


@pytest.mark.time_limit(120)
def test_json_records_name_task_and_actor(listen: Callable[..., str]) -> None:
    output = listen(WRITES, _complete, ENCODING="JSON")
    ids = next(line for line in output.splitlines() if line.startswith("ids ")).split()
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    records = {record["message"]: record for record in found}
    assert "too low" not in records
    task, actor, driver = (records[f"of {who}"] for who in ("a task", "an actor", "the driver"))
    assert task["levelname"] == "WARNING" and task["name"] == "app" and task["mine"] == 7
    assert task["task_id"] == ids[1] and task["task_name"] == "write"
    assert actor["actor_id"] == ids[2] and actor["actor_name"] == "known"
    assert actor["task_name"] == "Actor.write"
    assert "task_id" not in driver
    assert task["job_id"] == driver["job_id"] and task["node_id"] == driver["node_id"]
    assert task["worker_id"] != driver["worker_id"] and task["process"] != driver["process"]
    assert isinstance(task["timestamp_ns"], int)
    assert "ZeroDivisionError" in records["went wrong"]["exc_text"]


@pytest.mark.time_limit(120)
def test_text_records_name_them_at_the_end(listen: Callable[..., str]) -> None:
    output = listen(WRITES, _complete, ENCODING="TEXT")
    line = next(line for line in output.splitlines() if "of a task" in line)
    assert " -- of a task name=app " in line and "mine=7" in line and "task_name=write" in line
    assert "WARNING driver.py:" in line and "pid=" not in line


def test_the_level_holds_in_workers(
    start: Callable[..., Any], engine: Ray, root_logger: None
) -> None:
    start(logging_config=engine.LoggingConfig(log_level="ERROR"))

    @engine.remote
    def level() -> int:
        return logging.getLogger().level

    assert engine.get(level.remote()) == logging.ERROR == logging.getLogger().level
