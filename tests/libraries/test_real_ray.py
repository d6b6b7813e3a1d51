"""Handing over to the real Ray: a cluster on the loop-back, started by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

HEAD = """
import sys
import ray

context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""

PROGRAM = """
import sys
import whipray as ray


@ray.remote
def add(x, y=1):
    return x + y


@ray.remote(num_cpus=1)
def nested(x):
    return ray.get([add.remote(x), add.options(num_cpus=0.5).remote(x, 10)])


@ray.remote
class Counter:
    def __init__(self, start=0):
        self.n = start

    def up(self, by):
        self.n = ray.get(add.remote(self.n, by))
        return self.n


if len(sys.argv) > 1:
    ray.init(sys.argv[1])
assert ray.get(ray.put({"a": 1})) == {"a": 1}
assert ray.get([add.remote(i) for i in range(3)]) == [1, 2, 3]
assert ray.get(nested.remote(5)) == [6, 15]
counter = Counter.options(name="c").remote(start=1)
assert ray.get([counter.up.remote(2) for _ in range(3)]) == [3, 5, 7]
assert ray.get(ray.get_actor("c").up.remote(1)) == 8
try:
    ray.get(add.remote(1, "x"))
except ray.exceptions.RayTaskError as error:
    assert isinstance(error, TypeError)
else:
    raise AssertionError
ready, rest = ray.wait([add.remote(1)], num_returns=1)
assert isinstance(ready[0], ray.ObjectRef) and rest == []
import ray as original
assert original.is_initialized() and "whipray" not in original.__file__
ray.shutdown()
assert not ray.is_initialized() and not original.is_initialized()
ray.init(num_cpus=1, address="local")
assert ray.get(nested.remote(5)) == [6, 15]
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Without the name and without tokens, which the cluster would want."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WHIPRAY_")}
    return {**kept, "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def address(environment: dict[str, str]) -> Iterator[str]:
    """host:port of the cluster."""
    pipe = subprocess.PIPE
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=pipe, stdout=pipe, text=True, env=environment
    )
    assert head.stdout is not None
    found = head.stdout.readline().strip()
    assert found, "the cluster did not start"
    yield found
    head.communicate()


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., None]:
    def launch(*arguments: str, **variables: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    return launch


def test_by_address(run: Callable[..., None], address: str) -> None:
    run(f"ray:{address}")


def test_by_variable_without_init(run: Callable[..., None], address: str) -> None:
    run(WHIPRAY_ADDRESS=f"ray:{address}")
