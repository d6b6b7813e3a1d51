"""Runtime environments: directories, modules, variables, hooks; for jobs, tasks and actors."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import Ray

"""The original starts an instance and an agent for each of them."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a module, data, and files that are to be left out."""
    root = tmp_path / "project"
    (root / "inner").mkdir(parents=True)
    (root / "project_module.py").write_text("VALUE = 41\n")
    (root / "data.txt").write_text("data")
    (root / "inner" / "deep.txt").write_text("deep")
    (root / "inner" / "big.bin").write_text("left out by .gitignore")
    (root / "notes.log").write_text("left out by excludes")
    (root / ".gitignore").write_text("*.bin\n")
    return root


@pytest.fixture
def module_dir(tmp_path: Path) -> Path:
    root = tmp_path / "shipped_package"
    root.mkdir()
    (root / "__init__.py").write_text("VALUE = 7\n")
    return root


def look() -> tuple[int, str, list[str], bool]:
    import project_module

    files = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(".")
        for name in names
        if "__pycache__" not in folder
    )
    return project_module.VALUE, open("data.txt").read(), files, os.getcwd() in sys.path


def shipped() -> int:
    import shipped_package

    return int(shipped_package.VALUE)


def variable(name: str) -> str | None:
    return os.environ.get(name)


def set_variable() -> None:
    os.environ["SET_BY_HOOK"] = "yes"


EXPECTED = (41, "data", ["./.gitignore", "./data.txt", "./inner/deep.txt", "./project_module.py"])


def test_working_dir_of_a_job(start: Callable[..., Any], ray_fresh: Ray, project: Path) -> None:
    start(runtime_env={"working_dir": str(project), "excludes": ["*.log"]})
    task = ray_fresh.remote(look)

    @ray_fresh.remote
    def through_another() -> Any:
        return ray_fresh.get(task.remote())

    @ray_fresh.remote
    class Member:
        def look(self) -> Any:
            return look()

    found = [task.remote(), through_another.remote(), Member.remote().look.remote()]
    for value in ray_fresh.get(found):
        assert value[:3] == EXPECTED
        assert value[3]


def test_working_dir_is_a_snapshot(
    start: Callable[..., Any], ray_fresh: Ray, project: Path
) -> None:
    start(runtime_env={"working_dir": str(project), "excludes": ["*.log"]})
    (project / "data.txt").write_text("changed")
    assert ray_fresh.get(ray_fresh.remote(look).remote())[1] == "data"


def test_working_dir_from_a_zip_file(
    start: Callable[..., Any], ray_fresh: Ray, project: Path, tmp_path: Path
) -> None:
    path = tmp_path / "project.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("project_module.py", "data.txt"):
            archive.write(project / name, name)
    start(runtime_env={"working_dir": str(path)})
    value, data, files, _ = ray_fresh.get(ray_fresh.remote(look).remote())
    assert (value, data, files) == (41, "data", ["./data.txt", "./project_module.py"])


def test_py_modules_as_path_module_and_file(
    start: Callable[..., Any],
    ray_fresh: Ray,
    module_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    single = tmp_path / "elsewhere" / "single_module.py"
    single.parent.mkdir()
    single.write_text("VALUE = 9\n")
    start(runtime_env={"py_modules": [str(module_dir), str(single)]})

    @ray_fresh.remote
    def both() -> tuple[int, int]:
        import single_module

        return shipped(), single_module.VALUE

    assert ray_fresh.get(both.remote()) == (7, 9)


def test_variables_expand_and_merge(start: Callable[..., Any], ray_fresh: Ray) -> None:
    start(runtime_env={"env_vars": {"OF_JOB": "job", "OF_BOTH": "job"}})

    @ray_fresh.remote
    def outer() -> Any:
        inner = ray_fresh.remote(variable)
        names = ["OF_JOB", "OF_BOTH", "OF_TASK", "EXPANDED"]
        return ray_fresh.get([inner.remote(name) for name in names])

    env = {"OF_BOTH": "task", "OF_TASK": "task", "EXPANDED": "${HOME}/below"}
    task = outer.options(runtime_env={"env_vars": env})
    expanded = os.path.join(os.environ["HOME"], "below")
    assert ray_fresh.get(task.remote()) == ["job", "task", "task", expanded]


def test_variables_of_a_job_expand(start: Callable[..., Any], ray_fresh: Ray) -> None:
    job = {"BELOW": "${HOME}/below", "PATH": "${PATH}:/no/such/place", "OF_BELOW": "${BELOW}/more"}
    start(runtime_env={"env_vars": job})
    look = ray_fresh.remote(lambda *names: [os.environ.get(name) for name in names])
    below = os.path.join(os.environ["HOME"], "below")
    path = os.environ["PATH"] + ":/no/such/place"
    assert ray_fresh.get(look.remote("BELOW", "OF_BELOW", "PATH")) == [below, below + "/more", path]
    task = look.options(runtime_env={"env_vars": {"OF_JOB": "<${BELOW}>"}})
    assert ray_fresh.get(task.remote("OF_JOB", "BELOW")) == [f"<{below}>", below]


def test_hook_may_change_the_environment_of_a_job(
    run_script: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "the_hook.py").write_text(
        "def add(given): return {**(given or {}), 'env_vars': {'ADDED': 'by the hook'}}\n"
    )
    shown = run_script(
        """
        import os
        ray.init(**INIT)
        print(ray.get(ray.remote(lambda: os.environ["ADDED"]).remote()))
        """,
        RAY_RUNTIME_ENV_HOOK="the_hook.add",
    )
    assert "by the hook" in shown


def test_how_variables_expand(ray: Ray) -> None:
    env = {
        "FIRST": "one",
        "OF_FIRST": "${FIRST}, two",
        "SHORT": "$FIRST",
        "ABSENT": "<${NOT_THERE_AT_ALL}>",
        "SHORT_ABSENT": "$NOT_THERE_AT_ALL",
        "SMALL_ABSENT": "${not_there}",
    }
    look = ray.remote(lambda: [os.environ[name] for name in env])
    found = ray.get(look.options(runtime_env={"env_vars": env}).remote())
    assert found == ["one", "one, two", "one", "<>", "$NOT_THERE_AT_ALL", "${not_there}"]


@pytest.mark.parametrize(
    ("env", "of_task", "of_actor"),
    [
        ({"env_vars": {"OF_OPTIONS": "yes"}}, [None, "yes"], [None, "yes"]),
        ({"config": {"setup_timeout_seconds": 100}}, [None, None], [None, None]),
        ({"env_vars": {}}, ["yes", None], [None, None]),
        ({}, ["yes", None], [None, None]),
        (None, ["yes", None], [None, None]),
    ],
)
def test_options_replace_the_environment(
    ray: Ray, env: Any, of_task: list[Any], of_actor: list[Any]
) -> None:
    """One that says nothing leaves that of the decorator to a task, and nothing to an actor."""
    decorated = ray.remote(runtime_env={"env_vars": {"OF_DECORATOR": "yes"}})

    def both(self: Any = None) -> list[Any]:
        return [os.environ.get(f"OF_{name}") for name in ("DECORATOR", "OPTIONS")]

    task = decorated(both).options(runtime_env=env)
    actor = decorated(type("Actor", (), {"both": both})).options(runtime_env=env).remote()
    assert ray.get([task.remote(), actor.both.remote()]) == [of_task, of_actor]


@pytest.mark.parametrize("by_name", [True, False])
def test_setup_hook(start: Callable[..., Any], ray_fresh: Ray, by_name: bool) -> None:
    hook = f"{__name__}.set_variable" if by_name else set_variable
    start(runtime_env={"worker_process_setup_hook": hook})
    assert ray_fresh.get(ray_fresh.remote(variable).remote("SET_BY_HOOK")) == "yes"


def test_context_knows_the_environment(start: Callable[..., Any], ray_fresh: Ray) -> None:
    start(runtime_env={"env_vars": {"A": "1"}})

    @ray_fresh.remote
    def own() -> Any:
        return dict(ray_fresh.get_runtime_context().runtime_env)

    assert ray_fresh.get_runtime_context().runtime_env["env_vars"] == {"A": "1"}
    assert ray_fresh.get(own.remote())["env_vars"] == {"A": "1"}
    changed = own.options(runtime_env={"env_vars": {"B": "2"}})
    assert ray_fresh.get(changed.remote())["env_vars"] == {"A": "1", "B": "2"}


def test_runtime_env_class(part: Callable[[str], Any], ray: Ray) -> None:
    env = part("runtime_env").RuntimeEnv(env_vars={"FROM_CLASS": "yes"})
    assert isinstance(env, dict) and env["env_vars"] == {"FROM_CLASS": "yes"}
    assert env.to_dict() == {"env_vars": {"FROM_CLASS": "yes"}}
    task = ray.remote(variable).options(runtime_env=env)
    assert ray.get(task.remote("FROM_CLASS")) == "yes"


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"env_vars": {"A": 1}}, TypeError),
        ({"env_vars": ["A"]}, TypeError),
        ({"working_dir": 3}, TypeError),
        ({"working_dir": "/there/is/no/such/directory"}, ValueError),
        ({"py_modules": "not a list"}, TypeError),
        ({"pip": 3}, TypeError),
        ({"pip": {"no_such_key": 1}}, ValueError),
        ({"pip": "/there/is/no/requirements.txt"}, ValueError),
        ({"pip": ["six"], "uv": ["six"]}, ValueError),
        ({"config": {"setup_timeout_seconds": 0}}, ValueError),
        ({"config": {"setup_timeout_seconds": "1"}}, TypeError),
    ],
)
def test_wrong_fields_are_refused(
    start: Callable[..., Any], env: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        start(runtime_env=env)


def test_workers_are_used_again_by_what_is_alike(ray: Ray) -> None:
    look = ray.remote(lambda: (os.getpid(), os.environ.get("ALIKE")))
    of = {
        value: look.options(runtime_env={"env_vars": {"ALIKE": value}}) for value in ("one", "two")
    }
    pids: dict[str | None, set[int]] = {None: set(), "one": set(), "two": set()}
    for _ in range(8):
        for value, remote in [(None, look), *of.items()]:
            pid, seen = ray.get(remote.remote())
            assert seen == value
            pids[value].add(pid)
    assert not pids["one"] & pids["two"] and not pids[None] & (pids["one"] | pids["two"])
    assert all(len(each) < 8 for each in pids.values())
