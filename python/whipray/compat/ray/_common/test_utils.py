"""`ray._common.test_utils`: what test suites written for Ray import."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import ray

logger = logging.getLogger(__name__)

DEFAULT_DRIVER_TIMEOUT_SECONDS = 300


@ray.remote(num_cpus=0)
class SignalActor:
    """An event that tasks and actors wait for."""

    def __init__(self) -> None:
        self.ready_event = asyncio.Event()
        self.num_waiters = 0

    def send(self, clear: bool = False) -> None:
        """Let all go on that wait; with `clear` only those that wait now."""
        self.ready_event.set()
        if clear:
            self.ready_event.clear()

    async def wait(self, should_wait: bool = True) -> None:
        """Wait for `send`."""
        if should_wait:
            self.num_waiters += 1
            await self.ready_event.wait()
            self.num_waiters -= 1

    async def cur_num_waiters(self) -> int:
        """How many calls of `wait` have not come back."""
        return self.num_waiters


@ray.remote(num_cpus=0)
class Semaphore:
    """A semaphore that tasks and actors share."""

    def __init__(self, value: int = 1) -> None:
        self._sema = asyncio.Semaphore(value=value)

    async def acquire(self) -> None:
        """Take one, waiting for it."""
        await self._sema.acquire()

    async def release(self) -> None:
        """Give one back."""
        self._sema.release()

    async def locked(self) -> bool:
        """Whether `acquire` would wait."""
        return self._sema.locked()


def wait_for_condition(
    condition_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Poll `condition_predictor(**kwargs)` until it is true.

    Raises:
        RuntimeError: not within `timeout` seconds; it holds the last exception of the condition.
    """
    deadline = time.monotonic() + timeout
    last = ""
    while time.monotonic() <= deadline:
        try:
            if condition_predictor(**kwargs):
                return
        except Exception:
            if raise_exceptions:
                raise
            last = traceback.format_exc()
        time.sleep(retry_interval_ms / 1000)
    raise _expired(last)


async def async_wait_for_condition(
    condition_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    **kwargs: Any,
) -> None:
    """`wait_for_condition` in a coroutine; the condition may be a coroutine function."""
    deadline = time.monotonic() + timeout
    last = ""
    while time.monotonic() <= deadline:
        try:
            found = condition_predictor(**kwargs)
            if await found if inspect.isawaitable(found) else found:
                return
        except Exception as error:
            last = str(error)
        await asyncio.sleep(retry_interval_ms / 1000)
    raise _expired(last)


def _expired(last: str) -> RuntimeError:
    more = f" Last exception: {last}" if last else ""
    return RuntimeError("The condition wasn't met before the timeout expired." + more)


class FakeTimer:
    """A clock that stands still until it is told to advance."""

    def __init__(self, start_time: float | None = None) -> None:
        self.reset(start_time)

    def reset(self, start_time: float | None = None) -> None:
        """Set the clock, by default to now."""
        self._now = time.time() if start_time is None else start_time

    def time(self) -> float:
        """What the clock shows, in seconds."""
        return self._now

    def advance(self, by: float) -> None:
        """Let `by` seconds pass."""
        self._now += by

    def realistic_sleep(self, amt: float) -> None:
        """Let a little more than `amt` seconds pass, as a sleep does."""
        self._now += amt + 0.001


def run_string_as_driver(
    driver_script: str,
    env: dict[str, str] | None = None,
    encode: str = "utf-8",
    timeout: float | None = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> str:
    """Run a program in a process of its own; its output and errors.

    Raises:
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it did not end; it has been killed.
    """
    done = _run(driver_script, env, subprocess.STDOUT, timeout)
    output: str = done.stdout.decode(encode)
    if done.returncode:
        print(output)
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, None)
    return output


def run_string_as_driver_stdout_stderr(
    driver_script: str,
    env: dict[str, str] | None = None,
    encode: str = "utf-8",
    timeout: float | None = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> tuple[str, str]:
    """As `run_string_as_driver`; its output and its errors apart."""
    done = _run(driver_script, env, subprocess.PIPE, timeout)
    output, errors = done.stdout.decode(encode), done.stderr.decode(encode)
    if done.returncode:
        print(output)
        print(errors)
        raise subprocess.CalledProcessError(done.returncode, done.args, output, errors)
    return output, errors


def _run(
    script: str, env: dict[str, str] | None, errors: int, timeout: float | None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-"],
        input=script.encode(),
        stdout=subprocess.PIPE,
        stderr=errors,
        env=env,
        timeout=timeout,
    )
