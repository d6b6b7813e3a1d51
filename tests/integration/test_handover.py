"""Handing a program over to a real Ray, which a small package stands for here.

With the original it is tested in tests/libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

STANDIN = """
import types
session = {}

class ObjectRef:
    def __init__(self, value):
        self.value = value

class Remote:
    def __init__(self, definition, options):
        self.definition, self.given = definition, options

    def remote(self, *args, **kwargs):
        return ObjectRef((self.definition(*args, **kwargs), self.given))

def init(**arguments):
    session.update(arguments)
    return "context"

def shutdown():
    session.clear()

def is_initialized():
    return bool(session)

def remote(*args, **options):
    return Remote(args[0], {}) if args else lambda definition: Remote(definition, options)

def get(ref):
    return ref.value

def put(value):
    return ObjectRef(value)

exceptions = types.SimpleNamespace(RayError=KeyError)
"""

PROGRAM = """
import whipray as ray

@ray.remote(num_cpus=2)
def double(x):
    return 2 * x

@ray.remote
class Counter:
    def __init__(self, n):
        self.n = n

own = ray.get, ray.put, ray.exceptions
"""

ON_RAY = """
import ray as other
assert ray.get is other.get and ray.exceptions is other.exceptions
assert ray.ObjectRef is other.ObjectRef and isinstance(ray.put(1), other.ObjectRef)
assert ray.get(double.remote(4)) == (8, {"num_cpus": 2})
assert ray.get(double.options(num_cpus=1).remote(x=1)) == (2, {"num_cpus": 1})
counter, given = ray.get(Counter.remote(3))
assert counter.n == 3 and given == {}
assert ray.get(Counter.options(name="c").remote(1))[1] == {"name": "c"}
ray.shutdown()
assert not ray.is_initialized() and not other.session
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs a program beside the stand-in, with these variables; what it printed."""
    package = tmp_path / "ray"
    package.mkdir()
    (package / "__init__.py").write_text(STANDIN)

    def launch(body: str, code: int = 0, **environment: str) -> str:
        path = os.pathsep.join(p for p in (str(tmp_path), os.environ.get("PYTHONPATH")) if p)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WHIPRAY_", "RAY_"))}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(body)],
            env={**inherited, "PYTHONPATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    return launch


@pytest.mark.parametrize(
    ("given", "understood"),
    [("ray:auto", "auto"), ("ray:head:6379", "head:6379"), ("ray://head:10001",) * 2],
)
def test_init_hands_over(run, given: str, understood: str) -> None:
    began = f"""
assert ray.init({given!r}, namespace="n", preload=["json"]) == "context"
import ray as other
assert other.session["address"] == {understood!r} and other.session["namespace"] == "n"
assert set(other.session) == {{"address", "namespace", "runtime_env"}}
"""
    back = "assert (ray.get, ray.put, ray.exceptions) == own\n"
    run(PROGRAM + began + ON_RAY + back)


def test_the_variable_hands_over_with_the_first_call(run) -> None:
    began = """
import ray as other
assert not other.session
assert ray.put(3).value == 3
assert other.session["address"] == "auto"
assert other.session["runtime_env"]["env_vars"] == {"WHIPRAY_ADDRESS": "ray:inside"}
"""
    run(PROGRAM + began + ON_RAY, WHIPRAY_ADDRESS="ray:auto")
    run(PROGRAM + "ray.init(num_cpus=1)\n" + ON_RAY, WHIPRAY_ADDRESS="ray:auto")
    run(PROGRAM + "assert ray.get(double.remote(1))[0] == 2", WHIPRAY_ADDRESS="ray:auto")


def test_variables_of_the_program_stay_in_its_environment(run) -> None:
    run(
        PROGRAM
        + 'ray.init("ray:auto", runtime_env={"env_vars": {"A": "1"}, "pip": ["x"]})\n'
        + "import ray as other\n"
        + 'env = other.session["runtime_env"]\n'
        + 'assert env["pip"] == ["x"] and sorted(env["env_vars"]) == ["A", "WHIPRAY_ADDRESS"]'
    )


def test_definitions_travel_as_those_of_ray(run) -> None:
    began = """
ray.init("ray:auto")
import ray as other
reduce, arguments = double.__reduce_ex__(5)
assert type(reduce(*arguments)) is other.Remote and reduce.__class__.__module__ == "operator"
reduce, arguments = Counter.__reduce_ex__(5)
assert type(reduce(*arguments)) is other.Remote
"""
    run(PROGRAM + began)


def test_workers_of_that_ray_are_in_it_from_the_start(run) -> None:
    run("import whipray, ray; assert whipray.get is ray.get", WHIPRAY_ADDRESS="ray:inside")


def test_without_ray_the_error_says_what_to_do(run, tmp_path: Path) -> None:
    (tmp_path / "ray" / "__init__.py").unlink()
    (tmp_path / "ray").rmdir()
    said = run("import whipray; whipray.init('ray:auto')", code=1)
    assert "ConnectionError" in said and "pip install ray" in said


def test_not_together_with_the_name(run) -> None:
    said = run("import whipray; whipray.init('ray:auto')", code=1, WHIPRAY_AS_RAY="1")
    assert "ConnectionError" in said and "WHIPRAY_AS_RAY" in said
