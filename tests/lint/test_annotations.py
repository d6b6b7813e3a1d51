"""What a type checker makes of programs that use the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lint.sources import ROOT

PROGRAM = """
from collections.abc import Iterator
from typing import Any, assert_type

import whipray as ray
from whipray import ObjectRef
from whipray.actor import ActorHandle, ActorProxy


@ray.remote
def half(x: int) -> float:
    return x / 2


@ray.remote(num_cpus=2)
def names(refs: list[ObjectRef[int]]) -> list[str]:
    return []


@ray.remote(num_returns=2)
def pair() -> tuple[int, str]:
    return 1, "one"


@ray.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@ray.remote(num_cpus=0)
def count_slowly(n: int) -> Iterator[int]:
    yield from range(n)


class Counter:
    @ray.method
    def up(self) -> int:
        return 1

    @ray.method(num_returns=2)
    def twice(self) -> tuple[int, int]:
        return self.up(), self.up()


with ray.init(num_cpus=2) as context:
    assert_type(context.address_info, dict[str, Any])

CounterActor = ray.remote(Counter)
RetriedActor = ray.remote(max_restarts=1)(Counter)

ref = half.remote(3)
assert_type(ref, ObjectRef[float])
assert_type(half.options(num_cpus=1).remote(3), ObjectRef[float])
assert_type(names.remote([]), ObjectRef[list[str]])
assert_type(ray.get(ref), float)
first, second = pair.remote()
first, second = half.options(num_returns=2).remote(3)
assert_type(count.remote(3), ray.ObjectRefGenerator[int])
assert_type([ray.get(item) for item in count_slowly.remote(3)], list[int])
assert_type(ray.get([ref, ref]), list[float])
assert_type(ray.wait([ref]), tuple[list[ObjectRef[float]], list[ObjectRef[float]]])
assert_type(ray.put({"a": 1}), ObjectRef[dict[str, int]])
assert_type(CounterActor.remote(), ActorHandle[Counter])
assert_type(RetriedActor.options(name="one").remote(), ActorHandle[Counter])


async def waits() -> None:
    assert_type(await ref, float)


def calls(counter: ActorProxy[Counter]) -> Any:
    return counter.up.remote()
"""


def test_references_carry_the_type_of_their_value(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}", str(program)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
