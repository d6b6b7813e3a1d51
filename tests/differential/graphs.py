"""Random graphs of tasks and actor calls: drawn from a seed, run on any engine.

A graph is a list of steps; each step may use the results of earlier ones.  The same seed is the
same graph, so that its outcome on Ray can be recorded.
"""

from __future__ import annotations

import functools
import os
import random
import tempfile
from dataclasses import dataclass
from typing import Any

from .catalogue import Ray
from .observe import Outcome, attempt

KINDS = {
    "put": 2,
    "add": 6,
    "nested": 2,
    "pair": 2,
    "call": 5,
    "fail": 1,
    "call_fails": 1,
    "flaky": 1,
    "crashes": 1,
    "inside": 2,
    "wait": 1,
}
SEEDS = 30
"""Graphs whose outcome on Ray is recorded."""
ACTORS = 2
FLAKY_RETRIES = 2
RETRIED_ABOVE = 3


@dataclass(frozen=True)
class Step:
    kind: str
    number: int
    """What makes steps of one kind different."""
    uses: tuple[int, ...]
    """Earlier steps whose results are arguments."""
    actor: int = 0


def draw(seed: int, length: int = 14) -> list[Step]:
    chance = random.Random(seed)
    steps: list[Step] = []
    for position in range(length):
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0] if position else "put"
        count = 0 if kind == "put" else chance.randint(1, min(3, position))
        uses = tuple(chance.choices(range(position), k=count))
        steps.append(Step(kind, chance.randint(1, 9), uses, chance.randrange(ACTORS)))
    return steps


class Ledger:
    """An actor whose answers depend on the order of its calls."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, *numbers: int) -> int:
        self.total += sum(numbers)
        return self.total

    def fail(self, number: int, *_: int) -> int:
        self.total += number
        raise LookupError(self.total)


class Run:
    """One graph on one engine."""

    def __init__(self, ray: Ray) -> None:
        self.ray = ray
        self.folder = tempfile.mkdtemp()
        ledger = ray.remote(num_cpus=0)(Ledger)
        self.actors = [ledger.remote() for _ in range(ACTORS)]
        self.refs: list[Any] = []

    def step(self, step: Step) -> Any:
        arguments = [self.refs[use] for use in step.uses]
        return getattr(self, f"_{step.kind}")(step, arguments)

    def _put(self, step: Step, arguments: list[Any]) -> Any:
        return self.ray.put(step.number)

    def _add(self, step: Step, arguments: list[Any]) -> Any:
        return self.ray.remote(lambda *parts: sum(parts)).remote(step.number, *arguments)

    def _nested(self, step: Step, arguments: list[Any]) -> Any:
        ray = self.ray

        @ray.remote(max_retries=0)
        def outer(*parts: int) -> int:
            inner = ray.remote(lambda x: x * 2)
            return sum(ray.get([inner.remote(part) for part in parts]))

        return outer.remote(step.number, *arguments)

    def _pair(self, step: Step, arguments: list[Any]) -> Any:
        two = self.ray.remote(num_returns=2)(lambda *parts: (sum(parts), -len(parts)))
        return two.remote(step.number, *arguments)[step.number % 2]

    def _call(self, step: Step, arguments: list[Any]) -> Any:
        return self.actors[step.actor].add.remote(step.number, *arguments)

    def _call_fails(self, step: Step, arguments: list[Any]) -> Any:
        return self.actors[step.actor].fail.remote(step.number, *arguments)

    def _fail(self, step: Step, arguments: list[Any]) -> Any:
        @self.ray.remote(max_retries=0)
        def fail(*parts: int) -> int:
            raise ArithmeticError(sum(parts))

        return fail.remote(step.number, *arguments)

    def _flaky(self, step: Step, arguments: list[Any]) -> Any:
        """Fails up to two times; has retries enough for that, or none."""
        log, failures = f"{self.folder}/{len(self.refs)}", step.number % 3
        retries = FLAKY_RETRIES if step.number > RETRIED_ABOVE else 0

        @self.ray.remote(max_retries=retries, retry_exceptions=True)
        def flaky(*parts: int) -> int:
            with open(log, "a+") as file:
                file.write("x")
                file.seek(0)
                attempts = len(file.read())
            if attempts <= failures:
                raise OSError(attempts)
            return sum(parts) * attempts

        return flaky.remote(step.number, *arguments)

    def _crashes(self, step: Step, arguments: list[Any]) -> Any:
        """Its process dies at the first attempt."""
        log = f"{self.folder}/{len(self.refs)}"

        @self.ray.remote(max_retries=1)
        def crash(*parts: int) -> int:
            if not os.path.exists(log):
                open(log, "w").close()
                os._exit(1)
            return sum(parts)

        return crash.remote(step.number, *arguments)

    def _inside(self, step: Step, arguments: list[Any]) -> Any:
        ray = self.ray

        @ray.remote(max_retries=0)
        def unpack(held: dict[str, list[Any]], number: int) -> int:
            return number + sum(ray.get(ref) for ref in held["refs"])

        return unpack.remote({"refs": arguments}, step.number)

    def _wait(self, step: Step, arguments: list[Any]) -> Any:
        unique = list(dict.fromkeys(arguments))
        ready, pending = self.ray.wait(unique, num_returns=len(unique), timeout=100)
        return self.ray.put(len(ready) * 10 + len(pending))


def run(ray: Ray, steps: list[Step]) -> list[Outcome]:
    """How each step of a graph ended."""
    here = Run(ray)
    for step in steps:
        here.refs.append(here.step(step))
    return [attempt(functools.partial(ray.get, ref, timeout=100)) for ref in here.refs]
