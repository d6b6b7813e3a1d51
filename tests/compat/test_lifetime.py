"""Values live exactly as long as something can reach them."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import init_defaults
from .helpers import Ray, process_gone, wait_until

STORE = 128 * 1024 * 1024
BLOCK = 8 * 1024 * 1024
ROUNDS = 40
"""Rounds of one block each: more than twice the store."""


@pytest.fixture(scope="module")
def _small(engine: Ray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    engine.shutdown()
    spilled = tmp_path_factory.mktemp("spilled")
    store = {"object_store_memory": STORE, "object_spilling_directory": str(spilled)}
    engine.init(**{**init_defaults(), **store})
    yield spilled
    engine.shutdown()


@pytest.fixture
def small(engine: Ray, _small: Path) -> Iterator[Ray]:
    """An instance whose store holds 128 MiB; a test leaves nothing that would have to be spilled,
    as more than the store that nobody has freed would have to be."""
    yield engine
    gc.collect()
    churn(engine)
    wait_until(lambda: not any(path.is_file() for path in _small.rglob("*")))


def block(value: int = 0) -> np.ndarray:
    return np.full(BLOCK, value % 256, dtype="u1")


def churn(ray: Ray, rounds: int = ROUNDS) -> None:
    """Put and drop more than the store holds."""
    for i in range(rounds):
        assert ray.get(ray.put(block(i)))[0] == i % 256


def test_dropped_puts_make_room(small: Ray) -> None:
    churn(small)


def test_dropped_results_make_room(small: Ray) -> None:
    make = small.remote(block)
    for i in range(ROUNDS):
        assert small.get(make.remote(i))[0] == i


def test_dropped_results_nobody_read_make_room(small: Ray) -> None:
    make = small.remote(block)
    for i in range(ROUNDS):
        small.wait([make.remote(i)])
    churn(small, 4)


def test_dropped_arguments_make_room(small: Ray) -> None:
    first = small.remote(lambda array: int(array[0]))
    assert small.get([first.remote(block(i)) for i in range(8)]) == list(range(8))
    for i in range(ROUNDS):
        assert small.get(first.remote(block(i))) == i


def test_kept_value_survives_the_churn_of_others(small: Ray) -> None:
    kept = small.put(block(7))
    churn(small)
    assert small.get(kept).min() == 7


def test_value_reached_only_through_a_container(small: Ray) -> None:
    box = small.put([small.put(block(9))])
    gc.collect()
    churn(small)
    assert small.get(small.get(box)[0])[-1] == 9


def test_container_chain_is_freed_as_a_whole(small: Ray) -> None:
    for i in range(ROUNDS):
        outer = small.put({"inner": [small.put(block(i))]})
        assert small.get(small.get(outer)["inner"][0])[0] == i
        del outer


def test_value_held_by_an_actor(small: Ray) -> None:
    @small.remote
    class Keeper:
        def keep(self, box: list[Any]) -> None:
            self.box = box

        def read(self) -> int:
            return int(small.get(self.box[0])[0])

        def drop(self) -> None:
            self.box = []

    keeper = Keeper.remote()
    small.get(keeper.keep.remote([small.put(block(11))]))
    churn(small)
    assert small.get(keeper.read.remote()) == 11
    small.get(keeper.drop.remote())
    churn(small)


def test_value_held_by_a_closure(small: Ray) -> None:
    ref = small.put(block(13))
    read = small.remote(lambda: int(small.get(ref)[0]))
    small.get(read.remote())
    churn(small)
    assert small.get(read.remote()) == 13


def test_value_held_by_a_pending_task(small: Ray, gate: Any) -> None:
    door = gate("door")
    blocker = small.remote(num_cpus=0)(lambda: door.wait()).remote()
    pending = small.remote(lambda _, array: int(array[0])).remote(blocker, small.put(block(15)))
    churn(small)
    door.open()
    assert small.get(pending) == 15


def test_value_held_by_a_view_only(small: Ray) -> None:
    view = small.get(small.put(block(17)))[100:200]
    churn(small)
    assert set(view.tolist()) == {17}


def test_errors_hold_nothing_for_good(small: Ray) -> None:
    @small.remote(max_retries=0)
    def fail(array: np.ndarray) -> None:
        raise ValueError(int(array[0]))

    for i in range(ROUNDS):
        with pytest.raises(ValueError):
            small.get(fail.remote(block(i)))


def test_results_of_a_dead_actor_make_room(small: Ray) -> None:
    @small.remote(num_cpus=0)
    class Source:
        def make(self, i: int) -> np.ndarray:
            return block(i)

    source = Source.remote()
    refs = [source.make.remote(i) for i in range(4)]
    assert [int(array[0]) for array in small.get(refs)] == [0, 1, 2, 3]
    small.kill(source)
    del refs
    churn(small)


def test_cycles_of_python_objects_that_hold_references(small: Ray) -> None:
    for i in range(ROUNDS):
        loop: list[Any] = [small.put(block(i))]
        loop.append(loop)
        del loop
        gc.collect()
    churn(small, 4)


def test_references_in_every_place_are_counted_to_nothing(small: Ray) -> None:
    @small.remote
    class Keeper:
        def __init__(self, first: list[Any]) -> None:
            self.kept = first

        def swap(self, box: list[Any]) -> list[Any]:
            self.kept, before = box, self.kept
            return before

    @small.remote
    def through(value: np.ndarray, box: dict[str, Any]) -> tuple[Any, Any]:
        return box["ref"], small.put([small.put(value[: BLOCK // 2])])

    @small.remote
    def items(box: list[Any]) -> Any:
        yield box
        yield small.get(box[0])

    keeper = Keeper.remote([])
    for i in range(ROUNDS):
        ref = small.put(block(i))
        same, made = small.get(through.remote(ref, {"ref": ref}))
        before = small.get(keeper.swap.remote([same, made]))
        assert all(small.get(each) is not None for each in before)
        boxed, value = [small.get(item) for item in items.remote([ref])]
        assert boxed[0] == same == ref and value[0] == i % 256
        assert small.get(small.get(made)[0])[-1] == i % 256
        del ref, same, made, before, boxed, value
    small.get(keeper.swap.remote([]))


@pytest.mark.parametrize("who", ["actor", "task"])
def test_what_a_killed_borrower_held_makes_room(small: Ray, who: str, gate: Any) -> None:
    def hold(box: list[Any], pid: str) -> None:
        values = [small.get(ref) for ref in box]
        Path(pid).write_text(f"{os.getpid()} {len(values)}")
        gate("never").wait()

    class Holder:
        def hold(self, box: list[Any], pid: str) -> None:
            hold(box, pid)

    for i in range(ROUNDS // 8):
        box = [small.put(block(i + k)) for k in range(8)]
        note = Path(gate(f"pid {i}").path)
        if who == "actor":
            holder = small.remote(num_cpus=0)(Holder).remote()
            ref = holder.hold.remote(box, str(note))
        else:
            ref = small.remote(max_retries=0)(hold).remote(box, str(note))
        wait_until(lambda note=note: note.exists() and " " in note.read_text())
        pid = int(note.read_text().split()[0])
        del box
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: process_gone(pid))
        with pytest.raises((small.exceptions.WorkerCrashedError, small.exceptions.RayActorError)):
            small.get(ref)
