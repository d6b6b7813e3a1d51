"""Handing over to the real Ray: `ray start --head`, and connections to it and to its client server.

The cluster is started by a process that ends it when its standard input ends, so it outlives no
run of the tests, however that ends; `ray stop` would end every Ray of this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

HEAD = """
import signal
import subprocess
import sys

command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *sys.argv[1:]]
pipe = subprocess.PIPE


def start():
    head = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    for line in head.stdout:
        print(line, end="", flush=True)
        if "Ray runtime started" in line:
            return head
    head.wait()


# It gives up after half a minute, which a busy machine may need.
head = next(filter(None, (start() for _ in range(5))), None) or sys.exit("it does not start")
sys.stdin.read()
head.send_signal(signal.SIGTERM)
head.communicate()
"""

PROGRAM = """
import contextlib
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


def join(address):
    # Ray's client server may give up on starting a process, on a busy machine.
    for _ in range(3):
        with contextlib.suppress(ConnectionAbortedError):
            return ray.init(address)
    return ray.init(address)


if len(sys.argv) > 1:
    join(sys.argv[1])
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
    """Without the name and without tokens, which the cluster would want; with patience."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WHIPRAY_")}
    patient = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120"}
    return {**kept, **patient, "RAY_AUTH_MODE": "disabled"}


@dataclass(frozen=True)
class Cluster:
    """Where it listens."""

    gcs: str
    client: str


@pytest.fixture(scope="module")
def cluster(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    gcs, client = free_ports(2)
    options = {
        "node-ip-address": "127.0.0.1",
        "port": gcs,
        "ray-client-server-port": client,
        "num-cpus": 2,
        "include-dashboard": "false",
        "temp-dir": f"/tmp/whipray-real-{os.getpid()}",  # sockets below it need a short path
        "object-store-memory": 200 << 20,
    }
    log = tmp_path_factory.mktemp("ray") / "head"
    with log.open("w") as out:
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=environment,
        )
        while "Ray runtime started" not in log.read_text():
            assert head.poll() is None, log.read_text()
            time.sleep(0.1)
    yield Cluster(f"127.0.0.1:{gcs}", f"127.0.0.1:{client}")
    head.communicate()
    shutil.rmtree(options["temp-dir"], ignore_errors=True)


def free_ports(number: int) -> list[int]:
    """Of the loop-back; nobody else is kept from taking them meanwhile."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(number)]
        return [s.getsockname()[1] for s in sockets]


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


def test_by_address(run: Callable[..., None], cluster: Cluster) -> None:
    run(f"ray:{cluster.gcs}")


def test_by_variable_without_init(run: Callable[..., None], cluster: Cluster) -> None:
    run(WHIPRAY_ADDRESS=f"ray:{cluster.gcs}")


def test_as_a_client(run: Callable[..., None], cluster: Cluster) -> None:
    run(f"ray://{cluster.client}")
