"""Actors that kill workers while a program runs, for tests that want to see it come through."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Callable, Hashable
from typing import Any

import whipray
from whipray.util.state import list_tasks

LOOK_SECONDS = 0.1
logger = logging.getLogger(__name__)


class ResourceKillerActor:
    """Kills something again and again; a subclass says what, and how.

    Args:
        head_node_id: the node that is to stay.
        kill_interval_s: seconds from one kill to the next.
        kill_delay_s: seconds before the first.
        max_to_kill: so many, None: without end.
        batch_size_to_kill: how many at a time.
        kill_filter_fn: returns the predicate that says of what is found whether it may be killed.
    """

    kill_immediately_after_found = False
    """Do not wait for a random part of the interval first."""

    def __init__(
        self,
        head_node_id: str,
        kill_interval_s: float = 60,
        kill_delay_s: float = 0,
        max_to_kill: int | None = 2,
        batch_size_to_kill: int = 1,
        kill_filter_fn: Callable[[], Callable[[Any], bool]] | None = None,
    ) -> None:
        self.head_node_id = head_node_id
        self.kill_interval_s = kill_interval_s
        self.kill_delay_s = kill_delay_s
        self.max_to_kill = max_to_kill
        self.batch_size_to_kill = batch_size_to_kill
        self.kill_filter_fn = kill_filter_fn
        self.killed: set[Hashable] = set()
        self.is_running = False
        self.done = asyncio.Event()

    def ready(self) -> None:
        """The actor is up."""

    async def run(self) -> None:
        """Kill until there have been enough, or until `stop_run()`."""
        self.is_running = True
        await asyncio.sleep(self.kill_delay_s)
        while self.is_running:
            found = await self._find_resources_to_kill()
            if not found:
                continue
            pause = 0.0
            if not self.kill_immediately_after_found:
                pause = random.random() * self.kill_interval_s
                await asyncio.sleep(pause)
            for target in found:
                await self._try_to_kill(target)
            if self.max_to_kill is not None and len(self.killed) >= self.max_to_kill:
                break
            await asyncio.sleep(self.kill_interval_s - pause)
        self.is_running = False
        self.done.set()

    async def _try_to_kill(self, target: Any) -> None:
        try:
            if await self._kill_resource(*target):
                self.killed.add(target)
        except Exception as error:
            logger.error("cannot kill %s: %r", target, error)

    async def _find_resources_to_kill(self) -> list[Any]:
        """What to kill next: tuples, each the arguments of `_kill_resource`."""
        raise NotImplementedError

    async def _kill_resource(self, *target: Any) -> bool:
        """Kill one; whether it was."""
        raise NotImplementedError

    async def stop_run(self) -> bool:
        """Kill no more; whether it did."""
        was_running = self.is_running
        self.is_running = False
        return was_running

    async def get_killed_nodes(self) -> set[Hashable]:
        """What has been killed, once that is over."""
        await self.done.wait()
        return self.killed.copy()


class _WorkerKiller(ResourceKillerActor):
    """Kills the worker of a task or call that runs."""

    kill_immediately_after_found = True

    async def _find_resources_to_kill(self) -> list[Any]:
        while self.is_running:
            tasks = [task for task in list_tasks(limit=10_000) if self._may_be_killed(task)]
            if tasks:
                task = random.choice(tasks)
                return [(task.task_id, task.worker_pid, task.node_id)]
            await asyncio.sleep(LOOK_SECONDS)
        return []

    def _may_be_killed(self, task: Any) -> bool:
        runs = task.state.startswith("RUNNING") and task.worker_pid not in (None, os.getpid())
        return runs and (self.kill_filter_fn is None or self.kill_filter_fn()(task))

    async def _kill_resource(self, *target: Any) -> bool:
        _, pid, _ = target
        os.kill(pid, signal.SIGKILL)
        return True


WorkerKillerActor = whipray.remote(num_cpus=0)(_WorkerKiller)


def get_and_run_resource_killer(
    resource_killer_cls: Any,
    kill_interval_s: float,
    namespace: str | None = None,
    lifetime: str | None = None,
    no_start: bool = False,
    max_to_kill: int | None = 2,
    batch_size_to_kill: int = 1,
    kill_delay_s: float = 0,
    kill_filter_fn: Callable[[], Callable[[Any], bool]] | None = None,
) -> Any:
    """Make an actor of that class, named ResourceKiller, and let it run unless `no_start`."""
    killer = resource_killer_cls.options(
        name="ResourceKiller", namespace=namespace, lifetime=lifetime
    ).remote(
        whipray.get_runtime_context().get_node_id(),
        kill_interval_s=kill_interval_s,
        kill_delay_s=kill_delay_s,
        max_to_kill=max_to_kill,
        batch_size_to_kill=batch_size_to_kill,
        kill_filter_fn=kill_filter_fn,
    )
    whipray.get(killer.ready.remote())
    if not no_start:
        killer.run.remote()
    return killer
