"""Code and surroundings of the driver that workers must share: imports, cwd, environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import Point, Ray

Run = Callable[..., str]
STATE = {"value": "at import"}


def module_function(x: int) -> int:
    return x + len(STATE)


def uses_helpers() -> Point:
    return Point(5, 6)


def test_function_of_the_test_module(ray: Ray) -> None:
    assert ray.get(ray.remote(module_function).remote(1)) == 2


def test_function_that_uses_another_module_of_the_package(ray: Ray) -> None:
    assert ray.get(ray.remote(uses_helpers).remote()) == Point(5, 6)


def test_imported_class_is_the_same_class_in_the_driver(ray: Ray) -> None:
    back = ray.get(ray.put(Point(1, 1)))
    assert type(back) is Point


def test_working_directory_is_that_of_the_driver(ray: Ray) -> None:
    assert ray.get(ray.remote(lambda: os.getcwd()).remote()) == os.getcwd()


def test_same_interpreter(ray: Ray) -> None:
    theirs = ray.get(ray.remote(lambda: (sys.executable, sys.version_info[:3])).remote())
    assert theirs == (sys.executable, sys.version_info[:3])


def test_standard_input_of_a_worker_is_empty(ray: Ray) -> None:
    assert ray.get(ray.remote(lambda: sys.stdin.read()).remote()) == ""


def test_module_beside_the_script(run_script: Run, tmp_path: Path) -> None:
    (tmp_path / "beside_the_script.py").write_text("class Thing:\n    tag = 'beside'\n")
    output = run_script(
        """
        from beside_the_script import Thing
        ray.init(**INIT)
        print(ray.get(ray.remote(lambda t: t.tag).remote(Thing())))
        """
    )
    assert "beside" in output.splitlines()


def test_module_on_the_python_path(run_script: Run, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "on_the_path.py").write_text("def f():\n    return 'found'\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    output = run_script(
        """
        import on_the_path
        ray.init(**INIT)
        print(ray.get(ray.remote(on_the_path.f).remote()))
        """,
        PYTHONPATH=path,
    )
    assert "found" in output.splitlines()


def test_class_of_the_main_module(run_script: Run) -> None:
    output = run_script(
        """
        import dataclasses
        @dataclasses.dataclass
        class Thing:
            value: int
        def helper(thing):
            return Thing(thing.value + 1)
        @ray.remote
        def step(thing):
            return helper(thing)
        if __name__ == "__main__":
            ray.init(**INIT)
            result = ray.get(step.remote(Thing(1)))
            print(result, type(result) is Thing)
        """
    )
    assert "Thing(value=2) True" in output.splitlines()


def test_global_of_the_main_module_is_captured_at_first_use(run_script: Run) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        level = 3
        @ray.remote
        def read():
            return level
        print("read", ray.get(read.remote()))
        """
    )
    assert "read 3" in output.splitlines()


def test_environment_of_the_driver_reaches_the_workers(run_script: Run) -> None:
    output = run_script(
        """
        import os
        ray.init(**INIT)
        print(ray.get(ray.remote(lambda: os.environ.get("COMPAT_INHERITED")).remote()))
        """,
        COMPAT_INHERITED="inherited",
    )
    assert "inherited" in output.splitlines()


def test_script_without_a_main_guard(run_script: Run) -> None:
    output = run_script(
        """
        print("started")
        ray.init(**INIT)
        print(sum(ray.get([ray.remote(lambda i=i: i).remote() for i in range(10)])))
        """
    )
    assert output.splitlines().count("started") == 1
    assert "45" in output.splitlines()


def test_environment_variables_of_one_task(ray: Ray) -> None:
    read = ray.remote(lambda: os.environ.get("COMPAT_ONE"))
    env = {"env_vars": {"COMPAT_ONE": "1"}}
    assert ray.get([read.options(runtime_env=env).remote(), read.remote()]) == ["1", None]


def test_environment_variables_merge_over_those_of_the_decorator(ray: Ray) -> None:
    @ray.remote(runtime_env={"env_vars": {"COMPAT_A": "a", "COMPAT_B": "b"}})
    def read() -> tuple[str | None, str | None]:
        return os.environ.get("COMPAT_A"), os.environ.get("COMPAT_B")

    assert ray.get(read.remote()) == ("a", "b")
    changed = read.options(runtime_env={"env_vars": {"COMPAT_B": "other"}})
    assert ray.get(changed.remote())[1] == "other"


@pytest.mark.parametrize("value", [1, None, b"x"], ids=repr)
def test_environment_variables_must_be_text(ray: Ray, value: object) -> None:
    with pytest.raises(TypeError):
        ray.remote(runtime_env={"env_vars": {"COMPAT_A": value}})(module_function).remote(1)


def test_the_error_of_a_missing_module_names_the_function(ray: Ray, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def f(): return 1\n")
    sys.path.append(str(tmp_path))
    try:
        import only_here
    finally:
        sys.path.remove(str(tmp_path))
        os.remove(tmp_path / "only_here.py")

    @ray.remote
    def uses_it() -> Any:
        return only_here.f()

    for function, name in ((uses_it, "uses_it"), (uses_it.options(name="other"), "other")):
        with pytest.raises(RuntimeError, match=r"ray::" + name) as caught:
            ray.get(function.remote())
        assert "No module named 'only_here'" in str(caught.value)
