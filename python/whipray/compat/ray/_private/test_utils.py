"""`ray._private.test_utils`: what test suites written for Ray import, as far as one machine goes.

What starts Redis, more nodes or a dashboard is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray._common.network_utils import find_free_port, parse_address
from ray._common.test_utils import (
    Semaphore,
    SignalActor,
    async_wait_for_condition,
    run_string_as_driver,
    run_string_as_driver_stdout_stderr,
    wait_for_condition,
)
from ray.util.queue import Empty, Queue, _QueueActor
from ray.util.state import get_actor, list_actors

from whipray.compat.killers import (
    ResourceKillerActor,
    WorkerKillerActor,
    get_and_run_resource_killer,
)

__all__ = [
    "BatchQueue",
    "Empty",
    "Queue",
    "ResourceKillerActor",
    "Semaphore",
    "SignalActor",
    "WorkerKillerActor",
    "async_wait_for_condition",
    "chdir",
    "check_call_ray",
    "check_call_subprocess",
    "client_test_enabled",
    "generate_system_config_map",
    "get_and_run_resource_killer",
    "get_current_unused_port",
    "get_gpu_visible_devices_env_var",
    "is_placement_group_removed",
    "kill_actor_and_wait_for_failure",
    "list_actors",
    "no_resource_leaks_excluding_node_resources",
    "object_memory_usage",
    "parse_address",
    "placement_group_assert_no_leak",
    "put_object",
    "recursive_fnmatch",
    "run_string_as_driver",
    "run_string_as_driver_nonblocking",
    "run_string_as_driver_stdout_stderr",
    "same_elements",
    "wait_for_assertion",
    "wait_for_children_of_pid",
    "wait_for_children_of_pid_to_exit",
    "wait_for_condition",
    "wait_for_num_actors",
    "wait_for_pid_to_exit",
    "wait_until_server_available",
    "wait_until_succeeded_without_exception",
]


# ---- processes -----------------------------------------------------------------------------------


def _pid_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(condition: Callable[[], Any], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Timed out while waiting for {what}.")
        time.sleep(0.02)


def wait_for_pid_to_exit(pid: int, timeout: float = 20) -> None:
    """Wait until the process has gone; TimeoutError after `timeout` seconds."""
    _until(lambda: not _pid_alive(pid), timeout, f"process {pid} to exit")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def wait_for_children_of_pid(pid: int, num_children: int = 1, timeout: float = 20) -> None:
    """Wait until the process has that many children; TimeoutError after `timeout` seconds."""
    _until(lambda: len(_children(pid)) >= num_children, timeout, f"children of process {pid}")


def wait_for_children_of_pid_to_exit(pid: int, timeout: float = 20) -> None:
    """Wait until the children the process has now have gone."""
    children = _children(pid)
    _until(
        lambda: not any(map(_pid_alive, children)), timeout, f"children of process {pid} to exit"
    )


def check_call_subprocess(
    argv: list[str], capture_stdout: bool = False, capture_stderr: bool = False
) -> bytes:
    """Run a command; what was captured of its output. CalledProcessError if it fails."""
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE if capture_stdout else None,
        stderr=(subprocess.STDOUT if capture_stdout else subprocess.PIPE)
        if capture_stderr
        else None,
    )
    output = (done.stdout or b"") + (done.stderr or b"")
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv, output)
    return output


def check_call_ray(
    args: list[str], capture_stdout: bool = False, capture_stderr: bool = False
) -> None:
    """Run a command of the command line, as ["start", "--head"]."""
    check_call_subprocess([sys.executable, "-m", "whipray", *args], capture_stdout, capture_stderr)


def run_string_as_driver_nonblocking(
    driver_script: str, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a process of its own, with pipes for its output and errors."""
    read_all = "import sys; script = sys.stdin.read(); sys.stdin.close(); exec(script)"
    process = subprocess.Popen(
        [sys.executable, "-c", read_all],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    assert process.stdin is not None
    process.stdin.write(driver_script.encode())
    process.stdin.close()
    process.stdin = None  # for communicate()
    return process


# ---- actors and placement groups -----------------------------------------------------------------


def wait_for_num_actors(num_actors: int, state: str | None = None, timeout: float = 10) -> None:
    """Wait until that many actors are listed, in that state if one is given."""
    filters = [("state", "=", state)] if state else None
    _until(
        lambda: len(list_actors(filters=filters, limit=num_actors)) >= num_actors,
        timeout,
        f"{num_actors} actors",
    )


def kill_actor_and_wait_for_failure(
    actor: Any, timeout: float = 10, retry_interval_ms: float = 100
) -> None:
    """Kill the actor and wait until it is dead or restarts."""
    identity = actor._actor_id.hex()
    before = get_actor(id=identity).num_restarts
    ray.kill(actor)

    def failed() -> bool:
        now = get_actor(id=identity)
        return now is None or now.state == "DEAD" or now.num_restarts > before

    wait_for_condition(failed, timeout, retry_interval_ms)


def is_placement_group_removed(pg: Any) -> bool:
    """Whether the group has been removed."""
    return bool(ray.util.placement_group_table(pg).get("state") == "REMOVED")


def placement_group_assert_no_leak(pgs_created: list[Any]) -> None:
    """Remove the groups and wait until all they reserved is free."""
    for group in pgs_created:
        ray.util.remove_placement_group(group)

    def all_removed() -> bool:
        return all(g["state"] == "REMOVED" for g in ray.util.placement_group_table().values())

    wait_for_condition(all_removed)
    wait_for_condition(no_resource_leaks_excluding_node_resources)


def no_resource_leaks_excluding_node_resources() -> bool:
    """Whether everything but memory is free."""
    total, free = ray.cluster_resources(), ray.available_resources()
    counted = {key for key in total if not key.startswith(("node:", "memory", "object_store"))}
    return all(free.get(key) == total[key] for key in counted)


class BatchQueue(Queue):  # type: ignore[misc]
    """A queue whose items are taken in batches."""

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self.actor = ray.remote(_BatchQueueActor).options(**(actor_options or {})).remote(maxsize)

    def get_batch(
        self,
        batch_size: int | None = None,
        total_timeout: float | None = None,
        first_timeout: float | None = None,
    ) -> list[Any]:
        """Up to `batch_size` items, or all there are; Empty if the first does not come in time."""
        return list(ray.get(self.actor.get_batch.remote(batch_size, total_timeout, first_timeout)))


class _BatchQueueActor(_QueueActor):  # type: ignore[misc]
    async def get_batch(
        self,
        batch_size: int | None = None,
        total_timeout: float | None = None,
        first_timeout: float | None = None,
    ) -> list[Any]:
        clock = asyncio.get_running_loop()
        deadline = None if total_timeout is None else clock.time() + total_timeout
        try:
            batch = [await asyncio.wait_for(self.queue.get(), first_timeout)]
        except TimeoutError:
            raise Empty from None
        if batch_size is None and deadline is None:
            deadline = clock.time()
        with contextlib.suppress(TimeoutError, asyncio.QueueEmpty):
            while batch_size is None or len(batch) < batch_size:
                left = None if deadline is None else deadline - clock.time()
                if left is not None and left <= 0:
                    batch.append(self.queue.get_nowait())
                else:
                    batch.append(await asyncio.wait_for(self.queue.get(), left))
        return batch


# ---- other things --------------------------------------------------------------------------------


def wait_for_assertion(
    assertion_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Call the function until it raises no AssertionError; the last one after `timeout`."""

    def holds() -> bool:
        try:
            assertion_predictor(**kwargs)
        except AssertionError:
            return False
        return True

    try:
        wait_for_condition(holds, timeout, retry_interval_ms, raise_exceptions)
    except RuntimeError:
        assertion_predictor(**kwargs)


def wait_until_succeeded_without_exception(
    func: Callable[..., Any],
    exceptions: tuple[type[BaseException], ...],
    *args: Any,
    timeout_ms: float = 1000,
    retry_interval_ms: float = 100,
    raise_last_ex: bool = False,
) -> bool:
    """Call the function until it raises none of the exceptions; whether it did so in time."""
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            func(*args)
            return True
        except exceptions:
            if time.monotonic() > deadline:
                if raise_last_ex:
                    raise Exception(f"Timed out while testing, {traceback.format_exc()}") from None
                return False
        time.sleep(retry_interval_ms / 1000)


def wait_until_server_available(
    address: str, timeout_ms: float = 5000, retry_interval_ms: float = 100
) -> bool:
    """Whether somebody listens on host:port within the time."""
    parts = parse_address(address)
    assert parts is not None, f"{address!r} is not of the form host:port"
    deadline = time.monotonic() + timeout_ms / 1000
    while time.monotonic() <= deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((parts[0], int(parts[1])), timeout=1).close()
            return True
        time.sleep(retry_interval_ms / 1000)
    return False


def get_current_unused_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    return int(find_free_port())


def recursive_fnmatch(dirpath: str, pattern: str) -> list[str]:
    """Files below the folder whose names match."""
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(dirpath)
        for name in fnmatch.filter(names, pattern)
    ]


def same_elements(elems_a: Iterable[Any], elems_b: Iterable[Any]) -> bool:
    """Whether each element of one is among those of the other."""
    a, b = list(elems_a), list(elems_b)
    return all(x in b for x in a) and all(x in a for x in b)


def generate_system_config_map(**kwargs: Any) -> dict[str, Any]:
    """Arguments of init with this private configuration."""
    return {"_system_config": kwargs}


@ray.remote  # type: ignore[untyped-decorator]
def _put(obj: Any) -> Any:
    return obj


def put_object(obj: Any, use_ray_put: bool) -> Any:
    """A reference to the object, by put or as the result of a task."""
    return ray.put(obj) if use_ray_put else _put.remote(obj)


def object_memory_usage() -> float:
    """Bytes that are used in the object store."""
    key = "object_store_memory"
    return float(ray.cluster_resources().get(key, 0) - ray.available_resources().get(key, 0))


def client_test_enabled() -> bool:
    """False: there is no client mode."""
    return False


def get_gpu_visible_devices_env_var() -> str:
    """The variable that says which GPUs a process sees."""
    return "CUDA_VISIBLE_DEVICES"


@contextlib.contextmanager
def chdir(d: str) -> Iterator[None]:
    """Be in another folder for a block."""
    before = os.getcwd()
    os.chdir(d)
    try:
        yield
    finally:
        os.chdir(before)
