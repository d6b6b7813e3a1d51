"""What yields for a process that has died ends: its worker and its CPU are free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray.exceptions import RayActorError, WorkerCrashedError

from .helpers import claimed, living, wait_until, wait_until_whole

ENDLESS = {"max_retries": -1, "num_cpus": 1, "resources": {"lamp": 1}}


def count_for_ever(started: str) -> Iterator[int]:
    n = 0
    while True:
        yield n
        Path(started).touch()
        n += 1
        time.sleep(0.001)


def hang(started: str) -> Iterator[int]:
    yield 0
    Path(started).touch()
    while True:
        time.sleep(1)


def chain(started: str) -> Iterator[int]:
    """Reads another one, and yields what that does."""
    for ref in whipray.remote(**ENDLESS)(count_for_ever).remote(started):
        yield whipray.get(ref)


BODIES = {"yields": count_for_ever, "hangs": hang, "reads": chain}


def read_one(body: Any, started: str, room: int) -> Any:
    options: dict[str, Any] = {**ENDLESS, "_generator_backpressure_num_objects": room}
    generator = whipray.remote(**options)(body).remote(started)
    assert whipray.get(next(generator)) == 0
    return generator


@whipray.remote(max_retries=0, num_cpus=0)
def read_and_die(name: str, started: str, room: int) -> None:
    generator = read_one(BODIES[name], started, room)
    if room < 0:
        wait_until(lambda: Path(started).exists())
    os.kill(os.getpid(), signal.SIGKILL)
    del generator


@whipray.remote(num_cpus=0)
class Reader:
    def read(self, name: str, started: str, room: int) -> None:
        self.generator = read_one(BODIES[name], started, room)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("room", [-1, 1], ids=["at its pace", "held back"])
@pytest.mark.parametrize("name", BODIES)
def test_a_task_ends_with_the_task_that_reads_it(name: str, room: int, tmp_path: Path) -> None:
    before = living()
    with pytest.raises(WorkerCrashedError):
        whipray.get(read_and_die.remote(name, str(tmp_path / "started"), room))
    wait_until_whole(before)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("how", ["kill", "scope"])
def test_a_task_ends_with_the_actor_that_reads_it(how: str, tmp_path: Path) -> None:
    before = living()
    reader = Reader.remote()
    whipray.get(reader.read.remote("hangs", str(tmp_path / "started"), -1))
    assert claimed()["CPU"] == 1
    if how == "kill":
        whipray.kill(reader)
    del reader
    wait_until_whole(before)


@pytest.mark.usefixtures("session")
def test_a_task_that_waits_for_a_cpu_never_runs(tmp_path: Path) -> None:
    before, end = living(), tmp_path / "end"

    @whipray.remote(num_cpus=0, resources={"lamp": 3})
    def hold() -> None:
        while not end.exists():
            time.sleep(0.01)

    @whipray.remote(max_retries=0, num_cpus=0)
    def submit_and_die(path: str) -> None:
        generator = whipray.remote(**ENDLESS)(count_for_ever).remote(path)
        os.kill(os.getpid(), signal.SIGKILL)
        del generator

    holder = hold.remote()
    wait_until(lambda: "lamp" not in whipray.available_resources())
    with pytest.raises(WorkerCrashedError):
        whipray.get(submit_and_die.remote(str(tmp_path / "started")))
    end.touch()
    whipray.get(holder)
    del holder
    wait_until_whole(before)
    assert not (tmp_path / "started").exists()


@whipray.remote(num_cpus=0)
class Source:
    def items(self, started: str) -> Iterator[int]:
        yield from count_for_ever(started)

    def ping(self) -> str:
        return "pong"


@whipray.remote(num_cpus=0)
class AsyncSource:
    async def items(self, started: str) -> Any:
        import asyncio

        yield 0
        Path(started).touch()
        await asyncio.sleep(10_000)

    async def ping(self) -> str:
        return "pong"


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("room", [-1, 1], ids=["at its pace", "held back"])
@pytest.mark.parametrize("kind", ["one thread", "threads", "loop"])
def test_a_call_ends_with_its_caller_and_the_actor_goes_on(
    kind: str, room: int, tmp_path: Path
) -> None:
    cls: Any = AsyncSource if kind == "loop" else Source
    before = living()
    source = cls.options(max_concurrency=1 if kind == "one thread" else 2).remote()

    @whipray.remote(max_retries=0, num_cpus=0)
    def call_and_die(source: Any, path: str) -> None:
        method = source.items.options(_generator_backpressure_num_objects=room)
        assert whipray.get(next(method.remote(path))) == 0
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        with pytest.raises((WorkerCrashedError, RayActorError)):
            whipray.get(call_and_die.remote(source, str(tmp_path / "started")))
    assert whipray.get(source.ping.remote(), timeout=60) == "pong"
    del source
    wait_until_whole(before)


DRIVER = """
    import os, sys, whipray
    whipray.init(sys.argv[1], namespace="shared", log_to_driver=False)
    source = whipray.get_actor("source")
    generator = source.items.remote(sys.argv[2])
    assert whipray.get(next(generator)) == 0
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), 9)
    if sys.argv[3] == "drop":
        del generator
    whipray.shutdown()
"""


@pytest.mark.parametrize("how", ["kill", "shutdown", "drop"])
def test_a_call_ends_with_the_driver_that_reads_it(how: str, tmp_path: Path) -> None:
    """Unless that has dropped it and left in order: it may have wanted what the call does."""
    context = whipray.init(num_cpus=2, namespace="shared", log_to_driver=False)
    before, path = living(), os.pathsep.join(entry for entry in sys.path if entry)
    source = Source.options(name="source").remote()
    arguments = [context.address_info["address"], str(tmp_path / "started"), how]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DRIVER), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == (-9 if how == "kill" else 0)
    if how == "drop":
        started = tmp_path / "started"
        started.unlink(missing_ok=True)
        wait_until(started.exists)
        whipray.kill(source)
    else:
        assert whipray.get(source.ping.remote(), timeout=60) == "pong"
    del source
    wait_until_whole(before)
    whipray.shutdown()
