"""Values whose files are damaged or gone are computed again by their tasks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from tests.compat.helpers import wait_until
from tests.integration.records import wait_until_whole
from whipray import _core
from whipray.exceptions import (
    ActorDiedError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    RayTaskError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
)
from whipray.util import placement_group, remove_placement_group
from whipray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

MIB = 1 << 20
STORE = 48 * MIB

Start = Callable[..., Path]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a session with a small store that spills to a directory of the test's own."""

    def begin(**more: Any) -> Path:
        spilled = tmp_path / "spilled"
        args: dict[str, Any] = {"num_cpus": 2, "log_to_driver": False}
        args.update(object_store_memory=STORE, object_spilling_directory=str(spilled), **more)
        whipray.init(**args)
        return spilled

    yield begin
    whipray.shutdown()
    gc.collect()


def files(spilled: Path) -> list[Path]:
    return [path for path in spilled.rglob("*") if path.is_file() and path.name.isdigit()]


def lose(spilled: Path, *, damage: bool = False) -> None:
    """All values that nobody looks at go to disk, and are lost there."""
    fill = [whipray.put(np.zeros(4 * MIB // 8)) for _ in range(36)]
    lost = files(spilled)
    assert lost and fill
    for path in lost:
        if damage:
            data = bytearray(path.read_bytes())
            for at in range(4096, len(data), 65536):
                data[at] ^= 1
            path.write_bytes(data)
        else:
            path.unlink()


def everything_is_gone() -> None:
    gc.collect()

    def gone() -> bool:
        audit = _core.audit()
        return audit["objects"] == 0 and audit["lineage"] == 0 and not sum(audit["tasks"][1:])

    wait_until(gone)
    wait_until_whole()


class Runs:
    """Counts how often each task has run, in files that survive any process."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "runs")
        Path(self.path).touch()

    def note(self, name: object) -> None:
        with open(self.path, "a") as file:
            file.write(f"{name}\n")

    def of(self, name: object) -> int:
        return Path(self.path).read_text().split("\n").count(str(name))

    def all(self) -> int:
        return len(Path(self.path).read_text().split())


@whipray.remote
def make(runs: Runs, k: int, mib: int = 4) -> Any:
    runs.note(k)
    return np.full(mib * MIB // 8, k)


@whipray.remote
def add(runs: Runs, k: object, array: Any, more: int = 1) -> Any:
    runs.note(k)
    return array + more


@whipray.remote
def ends(array: Any) -> tuple[int, int]:
    return int(array[0]), int(array[-1])


@pytest.mark.parametrize("damage", [False, True])
def test_a_lost_result_is_computed_once_more(start: Start, tmp_path: Path, damage: bool) -> None:
    spilled, runs = start(), Runs(tmp_path)
    refs = [make.remote(runs, k) for k in range(6)]
    whipray.wait(refs, num_returns=6)
    lose(spilled, damage=damage)
    for k, ref in enumerate(refs):
        assert (whipray.get(ref) == k).all()
        assert runs.of(k) == 2
    wait_until_whole()
    del refs, ref
    everything_is_gone()


def test_many_getters_and_tasks_share_one_run(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    ref = make.remote(runs, 7)
    whipray.wait([ref])
    lose(spilled)
    users = [ends.remote(ref) for _ in range(60)]
    assert whipray.get(users, timeout=100) == [(7, 7)] * 60
    assert (whipray.get(ref) == 7).all()
    assert runs.of(7) == 2
    wait_until_whole()


def test_a_chain_of_which_all_is_lost(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    refs = [make.remote(runs, 0, 1)]
    for k in range(1, 50):
        refs.append(add.remote(runs, k, refs[-1]))
    whipray.wait(refs, num_returns=50)
    lose(spilled)
    assert (whipray.get(refs[-1], timeout=100) == 49).all()
    assert [runs.of(k) for k in range(50)] == [2] * 50
    for k, ref in enumerate(refs):
        assert (whipray.get(ref) == k).all()
    assert runs.all() == 100
    wait_until_whole()
    del refs, ref
    everything_is_gone()


def test_arguments_that_nobody_has_kept_are_made_again(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    ref = make.remote(runs, 0)
    for k in range(1, 30):
        ref = add.remote(runs, k, ref)
    whipray.wait([ref])
    gc.collect()
    wait_until(lambda: _core.audit()["objects"] == 1)
    assert _core.audit()["value_bytes"] <= 5 * MIB  # what is between has left memory
    lose(spilled)
    assert (whipray.get(ref, timeout=100) == 29).all()
    assert [runs.of(k) for k in range(30)] == [2] * 30
    wait_until(lambda: _core.audit()["value_bytes"] <= 5 * MIB)
    wait_until_whole()
    del ref
    everything_is_gone()


def test_fan_in(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote
    def total(runs: Runs, *arrays: Any) -> Any:
        runs.note("total")
        return np.full(MIB, sum(int(array[0]) for array in arrays))

    parts = [make.remote(runs, k, 1) for k in range(20)]
    ref = total.remote(runs, *parts)
    whipray.wait([ref])
    lose(spilled)
    assert (whipray.get(ref, timeout=100) == 190).all()
    assert runs.of("total") == 2
    assert [runs.of(k) for k in range(20)] == [2] * 20
    wait_until_whole()


def test_several_returns(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote(num_returns=3)
    def three(runs: Runs) -> Any:
        runs.note("three")
        return np.full(MIB, 1), 2, np.full(MIB, 3)

    one, two, last = three.remote(runs)
    whipray.wait([one])
    view = whipray.get(last)
    del one  # the record of the task goes on without its first return
    lose(spilled)
    assert (view == 3).all()
    del view
    lose(spilled)
    assert (whipray.get(last, timeout=100) == 3).all() and whipray.get(two) == 2
    assert runs.of("three") == 2
    one, two, last = three.remote(runs)
    whipray.wait([one, last], num_returns=2)
    lose(spilled)
    assert whipray.get(ends.remote(last), timeout=100) == (3, 3)
    assert (whipray.get(one) == 1).all() and runs.of("three") == 4
    wait_until_whole()
    del one, two, last
    everything_is_gone()


def test_a_result_that_holds_references(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote
    def nest(runs: Runs, k: int) -> Any:
        runs.note(k)
        return {"array": np.full(MIB // 2, k), "of": [whipray.put(k), make.remote(runs, -k)]}

    refs = [nest.remote(runs, k) for k in range(1, 5)]
    whipray.wait(refs, num_returns=4)
    lose(spilled)
    for k, ref in enumerate(refs, 1):
        value = whipray.get(ref, timeout=100)
        assert (value["array"] == k).all() and runs.of(k) == 2
        assert whipray.get(value["of"][0]) == k
        assert (whipray.get(value["of"][1], timeout=100) == -k).all()
    wait_until_whole()
    del refs, ref, value
    everything_is_gone()


def test_the_budget(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    ref = make.options(max_retries=2).remote(runs, 1)
    never = make.options(max_retries=0).remote(runs, 2)
    whipray.wait([ref, never], num_returns=2)
    for _ in range(2):
        lose(spilled)
        assert (whipray.get(ref, timeout=100) == 1).all()
    lose(spilled)
    for lost in (ref, never, ref):
        with pytest.raises(ObjectReconstructionFailedError, match="max_retries") as caught:
            whipray.get(lost)
        assert lost.hex() in str(caught.value)
        with pytest.raises(ObjectLostError):
            whipray.get(ends.remote(lost))
    assert (runs.of(1), runs.of(2)) == (3, 1)
    wait_until_whole()


def test_what_put_stored_is_lost(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    source = whipray.put(np.full(MIB, 5))
    ref = add.remote(runs, "sum", source)
    whipray.wait([ref])
    lose(spilled)
    with pytest.raises(ObjectLostError):
        whipray.get(source)
    with pytest.raises(ObjectLostError):
        whipray.get(ref)
    assert runs.of("sum") == 1
    wait_until_whole()


def test_what_is_not_lost_is_used_as_it_is(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    source = whipray.put(np.full(MIB, 5))
    view = whipray.get(source)
    ref = add.remote(runs, "sum", source)
    whipray.wait([ref])
    lose(spilled)
    assert (whipray.get(ref, timeout=100) == 6).all() and (view == 5).all()
    assert runs.of("sum") == 2
    wait_until_whole()


@whipray.remote
def waits(runs: Runs, k: str, gate: str) -> Any:
    """Its second run ends when there is a file."""
    runs.note(k)
    while runs.of(k) > 1 and not Path(gate).exists():
        time.sleep(0.01)
    return np.full(MIB // 2, 3)


@pytest.mark.parametrize("force", [False, True])
def test_cancelled_while_it_is_computed_again(start: Start, tmp_path: Path, force: bool) -> None:
    spilled, runs = start(), Runs(tmp_path)
    ref = waits.remote(runs, "waits", str(tmp_path / "gate"))
    whipray.wait([ref])
    lose(spilled)
    user = ends.remote(ref)
    wait_until(lambda: runs.of("waits") == 2)
    whipray.cancel(ref, force=force)
    for _ in range(2):
        with pytest.raises(TaskCancelledError):
            whipray.get(ref, timeout=100)
    with pytest.raises((TaskCancelledError, RayTaskError)):
        whipray.get(user, timeout=100)
    assert runs.of("waits") == 2
    wait_until_whole()
    del ref, user
    everything_is_gone()


def test_cancelled_before_it_is_computed_again(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    gate = tmp_path / "gate"
    source, other = (waits.remote(runs, k, str(gate)) for k in "ab")
    parts = [add.remote(runs, k, source) for k in range(2)]
    whipray.wait([source, other, *parts], num_returns=4)
    lose(spilled)
    user = ends.remote(parts[0])
    wait_until(lambda: runs.of("a") == 2)  # what makes the part again waits for that
    whipray.cancel(user)
    whipray.cancel(parts[0])
    with pytest.raises(TaskCancelledError):
        whipray.get(parts[0], timeout=100)
    gate.touch()
    assert whipray.get(ends.remote(parts[1]), timeout=100) == (4, 4)
    assert (runs.of(0), runs.of(1)) == (1, 2)
    wait_until_whole()


def test_a_return_is_freed_while_its_task_runs_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_max_lineage_bytes", "1")  # what is of no other use is given up
    spilled, runs = start(), Runs(tmp_path)
    gate = tmp_path / "gate"

    @whipray.remote(num_returns=2)
    def two(runs: Runs) -> Any:
        runs.note("two")
        while runs.of("two") > 1 and not gate.exists():
            time.sleep(0.01)
        return np.full(MIB // 2, 1), np.full(MIB // 2, 2)

    first, second = two.remote(runs)
    whipray.wait([first, second], num_returns=2)
    lose(spilled)
    user = ends.remote(first)
    wait_until(lambda: runs.of("two") == 2)
    del second

    def freed() -> bool:
        whipray.get(make.remote(runs, "other"))  # lineage goes: what is left of it is looked at
        return not _core.audit()["lineage"]

    wait_until(freed)
    others = [whipray.put(np.full(8192, k)) for k in range(1100)]  # one of them in its record
    gate.touch()
    assert whipray.get(user, timeout=100) == (1, 1)
    assert [int(whipray.get(ref)[0]) for ref in others] == list(range(1100))
    wait_until_whole()


def test_a_group_is_removed_while_a_task_in_it_runs_again(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    group = placement_group([{"CPU": 1}])
    whipray.get(group.ready(), timeout=100)
    inside = waits.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    refs = [inside.remote(runs, k, str(tmp_path / "gate")) for k in "ab"]
    whipray.wait(refs, num_returns=2)
    lose(spilled)
    users = [ends.remote(ref) for ref in refs]  # one runs, the other has to wait for its CPU
    wait_until(lambda: runs.of("a") + runs.of("b") == 3)
    remove_placement_group(group)
    for ref in refs:
        with pytest.raises(TaskPlacementGroupRemoved):
            whipray.get(ref, timeout=100)
    for user in users:
        with pytest.raises(RayTaskError):
            whipray.get(user, timeout=100)
    assert runs.of("a") + runs.of("b") == 3
    wait_until_whole()
    del refs, users, ref, user
    everything_is_gone()


def test_the_actor_is_gone(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote(max_restarts=1, max_task_retries=2)
    class Maker:
        def make(self, runs: Runs) -> Any:
            runs.note("made")
            return np.full(MIB // 2, 4)

    maker = Maker.remote()
    ref = maker.make.remote(runs)
    whipray.wait([ref])
    whipray.kill(maker, no_restart=False)
    lose(spilled)
    assert (whipray.get(ref, timeout=100) == 4).all() and runs.of("made") == 2
    lose(spilled)
    whipray.kill(maker)
    for _ in range(2):
        with pytest.raises(ActorDiedError):
            whipray.get(ref, timeout=100)
    assert runs.of("made") == 2
    wait_until_whole()


@pytest.mark.parametrize("kind", ["streaming", "dynamic"])
@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
def test_what_a_generator_yielded_is_not_made_again(
    start: Start, tmp_path: Path, kind: str
) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote
    def three(runs: Runs) -> Any:
        runs.note("three")
        for k in range(3):
            yield np.full(MIB // 2, k)

    made = three.options(num_returns=kind).remote(runs)
    refs = list(whipray.get(made) if kind == "dynamic" else made)
    whipray.wait(refs, num_returns=3)
    lose(spilled)
    for ref in refs:
        with pytest.raises(ObjectLostError):
            whipray.get(ref, timeout=100)
        with pytest.raises(RayTaskError):
            whipray.get(ends.remote(ref), timeout=100)
    assert runs.of("three") == 1
    wait_until_whole()


def test_a_failure_of_the_second_run_is_the_answer(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote
    def once(runs: Runs) -> Any:
        runs.note("once")
        if runs.of("once") > 1:
            raise ValueError("only once")
        return np.full(MIB, 1)

    ref = once.remote(runs)
    whipray.wait([ref])
    lose(spilled)
    for _ in range(2):
        with pytest.raises(ValueError, match="only once"):
            whipray.get(ref)
    with pytest.raises(RayTaskError):
        whipray.get(ends.remote(ref))
    assert runs.of("once") == 2
    wait_until_whole()


def test_calls_on_actors(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)

    @whipray.remote
    class Maker:
        def make(self, runs: Runs, k: int) -> Any:
            runs.note(k)
            return np.full(MIB, k)

    maker = Maker.remote()
    again = maker.make.options(max_task_retries=1).remote(runs, 1)
    once = maker.make.remote(runs, 2)
    whipray.wait([again, once], num_returns=2)
    lose(spilled)
    assert (whipray.get(again, timeout=100) == 1).all()
    with pytest.raises(ObjectLostError):
        whipray.get(once)
    assert (runs.of(1), runs.of(2)) == (2, 1)
    wait_until_whole()


def test_a_task_in_a_placement_group_runs_again_in_it(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    group = placement_group([{"CPU": 1}])
    whipray.get(group.ready(), timeout=100)
    inside = PlacementGroupSchedulingStrategy(group)

    @whipray.remote
    def where(runs: Runs) -> Any:
        runs.note("where")
        current = whipray.util.get_current_placement_group()
        return np.full(MIB, 1 if current == group else 0)

    ref = where.options(scheduling_strategy=inside).remote(runs)
    total = add.remote(runs, "add", ref)
    whipray.wait([ref, total], num_returns=2)
    lose(spilled)
    assert (whipray.get(total, timeout=100) == 2).all() and (whipray.get(ref) == 1).all()
    assert (runs.of("where"), runs.of("add")) == (2, 2)
    lose(spilled)
    remove_placement_group(group)
    for _ in range(2):
        with pytest.raises(TaskPlacementGroupRemoved):
            whipray.get(ref, timeout=100)
    assert runs.of("where") == 2
    wait_until_whole()
    del ref, total
    everything_is_gone()


@whipray.remote(num_cpus=0)
class Keeper:
    """Holds what drivers give it, beyond their end."""

    def __init__(self) -> None:
        self.refs: list[Any] = []

    def keep(self, refs: list[Any]) -> None:
        self.refs += refs

    def all(self) -> list[Any]:
        return self.refs


@contextmanager
def joined(program: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A driver of its own that has said "ready" and lives until the end of the block."""
    head = """
        import os, sys
        import whipray
        whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
    """
    text = textwrap.dedent(head) + textwrap.dedent(program)
    text += "\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-c", text, _core.info()["session_dir"], *args],
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        yield driver
        driver.communicate("go\n", timeout=60)


def test_the_job_of_the_task_has_ended(start: Start, tmp_path: Path) -> None:
    spilled, runs = start(), Runs(tmp_path)
    keeper = Keeper.options(name="keeper", namespace="all").remote()
    make_and_leave = """
        import numpy as np
        @whipray.remote
        def make(path):
            with open(path, "a") as file:
                file.write("theirs\\n")
            return np.full(1 << 17, 5)
        ref = make.remote(sys.argv[2])
        keeper = whipray.get_actor("keeper", "all")
        whipray.get(keeper.keep.remote([ref]))
        whipray.wait([ref])
    """
    with joined(make_and_leave, runs.path):
        pass
    another = "whipray.get(whipray.remote(lambda: 1).remote())"
    with joined(another):  # its pool and its shape have the numbers of those that have gone
        (ref,) = whipray.get(keeper.all.remote())
        lose(spilled)
        for _ in range(2):
            with pytest.raises(ObjectReconstructionFailedError, match="job of its task has ended"):
                whipray.get(ref, timeout=100)
    assert runs.of("theirs") == 1
    whipray.kill(keeper)
    wait_until_whole()
    del ref, keeper
    everything_is_gone()


def test_lineage_that_takes_too_much_memory_is_dropped(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_max_lineage_bytes", "10000")
    spilled, runs = start(), Runs(tmp_path)
    ref = make.remote(runs, 0, 1)
    for k in range(1, 100):
        ref = add.remote(runs, k, ref)
    whipray.wait([ref])
    wait_until(lambda: _core.audit()["lineage"] <= 10000 // 256)
    lose(spilled)
    with pytest.raises(ObjectReconstructionFailedError, match="RAY_max_lineage_bytes"):
        whipray.get(ref, timeout=100)
    assert runs.of(0) == 1
    last = make.remote(runs, 777, 1)
    whipray.wait([last])
    lose(spilled)
    assert (whipray.get(last, timeout=100) == 777).all() and runs.of(777) == 2
    wait_until_whole()
    del ref, last
    everything_is_gone()
