# mypy: disable-error-code="untyped-decorator, attr-defined"
"""The rows of ``ray microbenchmark`` that go through Ray Client (24 to 31).

Every row starts a head node with a client server from the command line, connects with
``init("ray://…")`` and ends the head afterwards: a fresh server per row.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows.micro import BATCH, noop_task, numpy
from benchmarks.rows.registry import Figure, Missing, RowFunction, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Ray's microbenchmark, through Ray Client")

SERVER_STARTS_WITHIN = 60.0


def command_line(name: str) -> list[str]:
    """How to run the module's command line with this interpreter."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [sys.executable, str(script)]
    if importlib.util.find_spec(f"{name}.__main__"):
        return [sys.executable, "-m", name]
    raise Missing(f"{name} has no command line to start a client server with")


def require_client(name: str) -> None:
    """Raise Missing unless the module has a Ray Client that can work here."""
    try:
        found = importlib.util.find_spec(f"{name}.util.client")
    except ImportError:
        found = None
    if not found:
        raise Missing(f"{name} has no Ray Client")
    if name == "ray" and not importlib.util.find_spec("grpc"):
        raise Missing("Ray Client needs the package grpcio")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the port accepts; Missing when the server ended instead."""
    deadline = time.monotonic() + SERVER_STARTS_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines()
            raise Missing(f"the client server did not start: {said[-1] if said else 'no output'}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Missing(f"the client server did not listen within {SERVER_STARTS_WITHIN:.0f} s")


@contextmanager
def connected(bench: Bench) -> Iterator[Any]:
    """A session through a client server of its own; ends both."""
    ray = bench.ray
    require_client(ray.__name__)
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="wrb-", dir="/tmp"))  # a short path: it will hold sockets
    log = home / "server.log"
    command = [
        *command_line(ray.__name__),
        "start",
        "--head",
        "--block",
        f"--port={free_port()}",
        f"--ray-client-server-port={port}",
        f"--num-cpus={bench.plan.num_cpus}",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
        f"--temp-dir={home}",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, server, log)
        try:
            ray.init(f"ray://127.0.0.1:{port}")
        except ConnectionError as reason:
            raise Missing(f"its client server refused the connection: {reason}") from None
        try:
            yield ray
        finally:
            ray.shutdown()
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        shutil.rmtree(home, ignore_errors=True)


def client_row(
    key: str, title: str, does: str, figure: Figure, number: int
) -> Callable[[Callable[[Bench, Any], Values]], RowFunction]:
    """Declare a row whose function gets the bench and the connected module."""

    def declare(measure: Callable[[Bench, Any], Values]) -> RowFunction:
        def run(bench: Bench) -> Values:
            with connected(bench) as ray:
                return measure(bench, ray)

        return SECTION.row(key, title, does, figure, session="none", timeout=240, number=number)(
            run
        )

    return declare


def client_actor(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Plain:
        def call(self) -> bytes:
            return b"ok"

    return Plain


@client_row(
    "client-get",
    "client: get calls",
    "get of one ref to put(0), through the client",
    Figure("rate", "gets/s", limit="parked round trip rate"),
    24,
)
def client_get(bench: Bench, ray: Any) -> Values:
    ref = ray.put(0)
    return bench.rate(lambda: ray.get(ref))


@client_row(
    "client-put",
    "client: put calls",
    "put(0), through the client",
    Figure("rate", "puts/s", limit="parked round trip rate"),
    25,
)
def client_put(bench: Bench, ray: Any) -> Values:
    return bench.rate(lambda: ray.put(0))


@client_row(
    "client-put-gigabytes",
    "client: put gigabytes",
    "put of one unwritten np.zeros of 800 MiB, through the client; counted as 0.8 GB",
    Figure("rate", "GB/s", limit="copy zero page"),
    26,
)
def client_put_gigabytes(bench: Bench, ray: Any) -> Values:
    np = numpy()
    array = np.zeros(100 * 1024 * 1024, dtype=np.int64)
    return bench.rate(lambda: ray.put(array), 0.8)


@client_row(
    "client-tasks-put",
    "client: tasks and put batch",
    "get of 10 tasks of 100 x put(0) each, through the client",
    Figure("rate", "puts/s", limit="c call on all cores"),
    27,
)
def client_tasks_put(bench: Bench, ray: Any) -> Values:
    @ray.remote
    def hundred_puts() -> None:
        for _ in range(100):
            ray.put(0)

    return bench.rate(lambda: ray.get([hundred_puts.remote() for _ in range(10)]), 1000)


@client_row(
    "client-actor-sync",
    "client: 1:1 actor calls sync",
    "get(actor.call.remote()), through the client",
    Figure("rate", "calls/s", limit="parked round trip rate"),
    28,
)
def client_actor_sync(bench: Bench, ray: Any) -> Values:
    actor = client_actor(ray).remote()
    return bench.rate(lambda: ray.get(actor.call.remote()))


def batched(bench: Bench, ray: Any, actor: Any) -> Values:
    return bench.rate(lambda: ray.get([actor.call.remote() for _ in range(BATCH)]), BATCH)


@client_row(
    "client-actor-async",
    "client: 1:1 actor calls async",
    "get of 1000 calls on one actor, through the client",
    Figure("rate", "calls/s", limit="pipelined rate"),
    29,
)
def client_actor_async(bench: Bench, ray: Any) -> Values:
    return batched(bench, ray, client_actor(ray).remote())


@client_row(
    "client-actor-concurrent",
    "client: 1:1 actor calls concurrent",
    "get of 1000 calls on one actor with max_concurrency=16, through the client",
    Figure("rate", "calls/s", limit="pipelined rate"),
    30,
)
def client_actor_concurrent(bench: Bench, ray: Any) -> Values:
    return batched(bench, ray, client_actor(ray).options(max_concurrency=16).remote())


@client_row(
    "client-tasks-get-batch",
    "client: tasks and get batch",
    "submit 1000 no-op tasks, get the list, through the client; counted as one batch",
    Figure("rate", "batches/s", limit="pipelined batch"),
    31,
)
def client_tasks_get_batch(bench: Bench, ray: Any) -> Values:
    noop = noop_task(ray)
    return bench.rate(lambda: ray.get([noop.remote() for _ in range(BATCH)]))
