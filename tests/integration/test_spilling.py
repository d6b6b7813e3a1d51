"""A store that is too small: values go to disk, come back, and nothing is lost."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from tests.compat.helpers import process_gone, wait_until
from tests.integration.records import wait_until_whole
from whipray import _core
from whipray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    RayTaskError,
)

MIB = 1 << 20
STORE = 48 * MIB
DAEMON = 1  # enum wr_role
ROOM = 23  # wire/messages.h

Start = Callable[..., Path]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a session with a small store that spills to a directory of the test's own."""

    def begin(env: dict[str, str] | None = None, **more: Any) -> Path:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        spilled = tmp_path / "spilled"
        args: dict[str, Any] = {"num_cpus": 2, "log_to_driver": False}
        args.update(object_store_memory=STORE, object_spilling_directory=str(spilled), **more)
        whipray.init(**args)
        return spilled

    yield begin
    whipray.shutdown()
    gc.collect()


def files(spilled: Path) -> list[Path]:
    """Files with values in them, in whichever session's directory."""
    return [path for path in spilled.rglob("*") if path.is_file() and path.name.isdigit()]


def fill(n: int, mib: int = 4, first: int = 0) -> list[Any]:
    return [whipray.put(np.full(mib * MIB // 8, first + k)) for k in range(n)]


@whipray.remote
def ends(array: Any) -> tuple[int, int]:
    return int(array[0]), int(array[-1])


@whipray.remote
def make(k: int, mib: int = 4) -> Any:
    return np.full(mib * MIB // 8, k)


def test_a_working_set_of_five_stores(start: Start) -> None:
    spilled = start()
    refs = fill(60)  # 240 MiB
    assert files(spilled)
    for k in [*range(60), *range(59, -1, -7), 3, 3]:
        assert (whipray.get(refs[k]) == k).all()
    stats = whipray_stats()
    assert stats["spilled_bytes"] >= 4 * STORE
    assert stats["restored_objects"] >= 40
    wait_until_whole()
    del refs
    wait_until(lambda: not files(spilled))
    assert living_bytes() == 0


def whipray_stats() -> dict[str, int]:
    stats: dict[str, int] = _core.unpack(_core.rpc(18, _core.pack([])))[0]
    return stats


def living_bytes() -> int:
    gc.collect()
    return int(_core.audit()["value_bytes"])


@pytest.mark.parametrize("size", [4 * MIB, 6000])
def test_five_stores_of_values_that_hold_references(start: Start, size: int) -> None:
    spilled = start()
    count = 5 * STORE // size

    @whipray.remote
    def mean(value: dict[str, Any]) -> float:
        return float(value["array"].mean())

    outer = []
    for k in range(count):
        inner = whipray.put({"inner": k})
        outer.append(whipray.put({"array": np.full(size // 8, k, np.float64), "of": inner}))
    del inner
    gc.collect()
    wait_until_whole()
    assert files(spilled)
    for k, ref in enumerate(outer):
        value = whipray.get(ref)
        assert (value["array"] == k).all() and whipray.get(value["of"]) == {"inner": k}
    chosen = range(0, count, max(1, count // 20))
    assert whipray.get([mean.remote(outer[k]) for k in chosen]) == list(map(float, chosen))
    wait_until_whole()
    del outer, ref, value
    gc.collect()
    wait_until(lambda: _core.audit()["objects"] == 0 and not files(spilled))
    wait_until_whole()


def test_arguments_and_returns_of_tasks(start: Start) -> None:
    start()
    refs = fill(30)
    assert whipray.get([ends.remote(ref) for ref in refs]) == [(k, k) for k in range(30)]
    made = [make.remote(k) for k in range(40)]
    assert whipray.get([ends.remote(ref) for ref in made]) == [(k, k) for k in range(40)]
    ready, others = whipray.wait(made, num_returns=40)  # on disk is ready
    assert len(ready) == 40 and not others
    wait_until_whole()


def test_what_a_view_shows_stays(start: Start) -> None:
    start()
    refs = fill(5)
    views = whipray.get(refs)
    part = views[4][100:200]
    del views[4], refs[4]
    more = fill(40, first=100)
    for k, view in enumerate(views):
        assert (view == k).all()
    assert (part == 4).all()
    for k, ref in enumerate(more):
        assert (whipray.get(ref) == 100 + k).all()
    for k, view in enumerate(views):
        assert (view == k).all()
        assert whipray.get(refs[k]) is not view
    wait_until_whole()


def test_a_get_that_may_not_wait_for_the_disk(start: Start) -> None:
    start()
    refs = fill(20)
    with pytest.raises(GetTimeoutError):
        whipray.get(refs[0], timeout=0)
    assert (whipray.get(refs[0], timeout=120) == 0).all()
    with pytest.raises(GetTimeoutError):
        whipray.get([refs[0], refs[1]], timeout=0)
    assert [int(array[0]) for array in whipray.get(refs[:2], timeout=120)] == [0, 1]


def test_small_values_share_files(start: Start) -> None:
    spilled = start()
    values = [bytes([k % 251]) * 40_000 for k in range(4000)]  # 160 MB
    refs = [whipray.put(value) for value in values]
    assert whipray_stats()["spilled_objects"] > 1000
    assert 0 < len(files(spilled)) < 200
    assert whipray.get(refs[:300]) == values[:300]
    for k in range(0, 4000, 37):
        assert whipray.get(refs[k]) == values[k]
    wait_until_whole()


def test_values_of_many_kinds(start: Start) -> None:
    start()
    values: list[Any] = [
        "text" * 300_000,
        [1.5] * 200_000,
        {"a": np.arange(10), "b": b"x" * MIB, "c": {k: str(k) for k in range(20_000)}},
        (np.arange(500_000), "and", None),
        set(range(50_000)),
    ]
    refs = [whipray.put(value) for value in values]
    fill(20)
    for ref, value in zip(refs, values, strict=True):
        got = whipray.get(ref)
        if isinstance(value, tuple):
            assert (got[0] == value[0]).all() and got[1:] == value[1:]
        elif isinstance(value, dict):
            assert (got["a"] == value["a"]).all()
            assert got["b"] == value["b"] and got["c"] == value["c"]
        else:
            assert got == value


def test_several_processes_put_at_once(start: Start) -> None:
    start()

    @whipray.remote
    def produce(first: int) -> list[Any]:
        return [whipray.put(np.full(MIB // 8, first + k)) for k in range(60)]

    lists = whipray.get([produce.remote(1000 * k) for k in range(4)])
    for k, refs in enumerate(lists):
        for j, ref in enumerate(refs):
            assert whipray.get(ref)[-1] == 1000 * k + j
    wait_until_whole()


def test_room_is_made_ahead_of_who_fills_the_store(start: Start) -> None:
    start()
    refs = []
    while not whipray_stats()["spilled_objects"]:
        refs += fill(1, mib=1, first=len(refs))
    # Nobody asks again; twice the margin of a sixteenth becomes free all the same.
    wait_until(lambda: _core.stats()["store_used"] <= STORE - 2 * STORE // 16)
    assert [int(whipray.get(ref)[-1]) for ref in refs] == list(range(len(refs)))


def test_a_store_full_of_views_grows_and_shrinks(start: Start) -> None:
    spilled = start()
    views = [whipray.get(ref) for ref in fill(10)]
    more = whipray.get(whipray.put(np.ones(16 * MIB // 8)))
    assert more.sum() == 2 * MIB and all((view == k).all() for k, view in enumerate(views))
    wait_until(lambda: not files(spilled))
    assert _core.stats()["store_used"] > STORE
    assert whipray.cluster_resources()["object_store_memory"] == STORE
    del views, more
    wait_until(lambda: _core.stats()["store_limit"] == STORE)
    refs = fill(20)
    assert files(spilled) and _core.stats()["store_used"] <= STORE
    assert [int(whipray.get(ref)[0]) for ref in refs] == list(range(20))
    wait_until_whole()


def test_a_store_full_of_views_grows_although_others_spill_what_they_make(start: Start) -> None:
    start()
    views = [whipray.get(ref) for ref in fill(10)]
    done, found = threading.Event(), list[Any]()

    def make_small_ones() -> None:
        kept = []
        while not done.wait(0.02):
            kept.append(whipray.put(np.zeros(300_000 // 8)))
            del kept[:-100]

    def make_one() -> None:
        found.append(whipray.put(np.ones(16 * MIB // 8)))

    threads = [threading.Thread(target=run) for run in (make_small_ones, make_one)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: bool(found))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert whipray.get(found[0]).sum() == 2 * MIB
    assert all((view == k).all() for k, view in enumerate(views))


def test_views_of_more_than_the_store(start: Start) -> None:
    spilled = start()
    refs = fill(30)
    assert files(spilled)
    values = whipray.get(refs)
    assert all((value == k).all() for k, value in enumerate(values))

    @whipray.remote
    def total(*arrays: Any) -> int:
        return int(sum(array.sum() for array in arrays))

    assert whipray.get(total.remote(*refs)) == sum(range(30)) * 4 * MIB // 8
    del values
    wait_until(lambda: _core.stats()["store_limit"] == STORE)  # though all refs are still there
    wait_until_whole()


@pytest.mark.parametrize("env", ["WHIPRAY_FIXED_STORE", "WHIPRAY_MEMORY_USAGE_THRESHOLD"])
def test_a_store_full_of_views_that_may_not_grow(start: Start, env: str) -> None:
    start({env: "1" if env.endswith("STORE") else "0.0001"})
    views = [whipray.get(ref) for ref in fill(10)]
    with pytest.raises(ObjectStoreFullError, match="arrays that live"):
        whipray.put(np.zeros(16 * MIB // 8))
    assert all((view == k).all() for k, view in enumerate(views))
    del views
    assert whipray.get(whipray.put(np.ones(16 * MIB // 8))).sum() == 2 * MIB


def test_a_large_value_finds_room_while_others_take_what_is_freed(
    start: Start, tmp_path: Path
) -> None:
    start({"WHIPRAY_FIXED_STORE": "1"}, num_cpus=4)
    end = tmp_path / "end"

    @whipray.remote
    def churn(k: int) -> None:
        refs, array = [], np.ones(4 * MIB // 8)
        while not end.exists():
            refs.append(whipray.put(array))
            del refs[:-8]
            if len(refs) == 8:
                (tmp_path / f"full{k}").touch()

    churning = [churn.remote(k) for k in range(3)]
    wait_until(lambda: len(list(tmp_path.glob("full*"))) == 3)
    for k in range(8):
        ref = whipray.put(np.full(24 * MIB // 8, k))
        assert whipray.get(ref)[-1] == k
        del ref
    end.touch()
    whipray.get(churning)


def test_patience_is_counted_while_the_daemon_gets_to_look(start: Start) -> None:
    """A machine that is overloaded is no store that is full."""
    start({"WHIPRAY_FIXED_STORE": "1"})
    views = [whipray.get(ref) for ref in fill(10)]
    found: list[Any] = []

    def put() -> None:
        try:
            found.append(whipray.put(np.ones(16 * MIB // 8)))
        except ObjectStoreFullError as error:
            found.append(error)

    thread = threading.Thread(target=put)
    os.kill(_core.info()["daemon_pid"], signal.SIGSTOP)
    try:
        thread.start()
        thread.join(11)
        assert not found
    finally:
        os.kill(_core.info()["daemon_pid"], signal.SIGCONT)
    del views
    thread.join(60)
    assert whipray.get(found[0]).sum() == 2 * MIB


def test_a_store_that_may_not_grow_refuses_larger_values_at_once(start: Start) -> None:
    start(env={"WHIPRAY_FIXED_STORE": "1"})
    with pytest.raises(ObjectStoreFullError, match="can never fit"):
        whipray.put(np.zeros(STORE // 8))
    with pytest.raises(RayTaskError, match="can never fit"):
        whipray.get(make.remote(0, STORE // MIB))


def test_a_value_larger_than_the_store_goes_to_disk_and_comes_back(start: Start) -> None:
    spilled = start()
    small = fill(4)
    large = whipray.put(np.arange(2 * STORE // 8))
    assert whipray.get(ends.remote(large)) == (0, 2 * STORE // 8 - 1)
    assert whipray.get(ends.remote(make.remote(7, 2 * STORE // MIB))) == (7, 7)
    wait_until(lambda: sum(path.stat().st_size for path in files(spilled)) > 2 * STORE)
    wait_until(lambda: _core.stats()["store_limit"] == STORE)
    assert int(whipray.get(large)[-1]) == 2 * STORE // 8 - 1
    assert [int(whipray.get(ref)[0]) for ref in small] == [0, 1, 2, 3]
    del large, small
    wait_until(lambda: _core.stats()["store_limit"] == STORE)
    wait_until(lambda: not files(spilled))


def test_files_of_values_that_came_back_go_with_the_values(start: Start) -> None:
    spilled = start()
    refs = fill(8)
    fill(8)
    wait_until(lambda: files(spilled))
    assert [int(whipray.get(ref)[0]) for ref in refs] == list(range(8))
    time.sleep(0.2)  # whiprayd has looked at what else has gone
    assert files(spilled)
    refs.clear()
    wait_until(lambda: not files(spilled))


def test_more_than_the_machine_has_is_refused_at_once(start: Start, tmp_path: Path) -> None:
    start()
    sparse = np.memmap(tmp_path / "sparse", mode="w+", shape=(1 << 42,), dtype=np.uint8)
    with pytest.raises(ObjectStoreFullError, match=r"can never fit: .* memory that it may grow"):
        whipray.put(np.asarray(sparse))


def test_what_is_asked_for_at_once_is_granted_as_far_as_memory_goes(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text(f"{1000 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{100 * MIB}\n")
    start(env={"WHIPRAY_MEMORY_CGROUP": str(tmp_path)})
    for size in (600 * MIB, 600 * MIB, 1 << 62, (1 << 64) - 1):
        _core.notify(ROOM, _core.pack([size, 0]))
    whipray_stats()  # the daemon has seen them
    assert _core.stats()["store_limit"] <= STORE + 601 * MIB
    wait_until(lambda: _core.stats()["store_limit"] == STORE)


def test_damaged_and_missing_files(start: Start) -> None:
    spilled = start()
    refs = fill(30)
    paths = sorted(files(spilled), key=lambda path: int(path.name))
    assert len(paths) >= 2
    paths[0].unlink()
    data = bytearray(paths[1].read_bytes())
    data[5000] ^= 1
    paths[1].write_bytes(data)
    lost = []
    for k, ref in enumerate(refs):
        try:
            assert (whipray.get(ref) == k).all()
        except ObjectLostError as error:
            assert "damaged or gone" in str(error) and ref.hex() in str(error)
            lost.append(k)
    assert 2 <= len(lost) < 25
    with pytest.raises(ObjectLostError):
        whipray.get(refs[lost[0]])
    with pytest.raises(ObjectLostError):
        whipray.get(ends.remote(refs[lost[0]]))
    wait_until_whole()


def test_a_full_disk_pushes_back_and_loses_nothing(start: Start) -> None:
    spilled = start({"RAY_local_fs_capacity_threshold": "0.0000001"})
    refs = fill(10)
    with pytest.raises(OutOfDiskError) as full:
        fill(8, first=10)
    shown = str(full.value)
    assert re.search(rf"object of 4\d{{6}} bytes in an object store of {STORE} bytes", shown)
    assert re.search(rf"to {re.escape(str(spilled))}/\S+, where \d{{7,}} bytes were to go", shown)
    assert re.search(r"and \d+ of \d+ are free: No space left .* RAY_local_fs_capacity", shown)
    wait_until(lambda: not files(spilled))
    assert [int(whipray.get(ref)[0]) for ref in refs] == list(range(10))
    del refs[:5]
    assert (whipray.get(fill(3)[2]) == 2).all()
    wait_until_whole()


def test_who_asks_a_stopped_daemon_for_a_value_does_not_get_stuck(start: Start) -> None:
    """More often than its socket has room for."""
    start()
    refs = fill(20)
    on_disk = refs[0]
    daemon = _core.info()["daemon_pid"]
    os.kill(daemon, signal.SIGSTOP)
    try:
        for _ in range(2000):
            with pytest.raises(GetTimeoutError):
                whipray.get(on_disk, timeout=0)
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert (whipray.get(on_disk, timeout=60) == 0).all()
    del refs, on_disk
    wait_until_whole()


def test_a_disk_that_fills_while_values_are_written(start: Start) -> None:
    """The kernel refuses what goes beyond the first MiB of a file, each time it is tried again."""
    start()
    daemon, limit = _core.info()["daemon_pid"], resource.RLIMIT_FSIZE
    former = resource.prlimit(daemon, limit, (MIB, resource.RLIM_INFINITY))
    refs = fill(10)
    with pytest.raises(ObjectStoreFullError, match="File too large"):
        fill(8, first=10)
    resource.prlimit(daemon, limit, former)
    refs += fill(8, first=10)
    assert [int(whipray.get(ref)[0]) for ref in refs] == list(range(18))
    del refs
    wait_until_whole()


def test_switched_off(start: Start) -> None:
    spilled = start(_system_config={"automatic_object_spilling_enabled": False})
    refs = fill(10)
    with pytest.raises(ObjectStoreFullError):
        fill(4)
    assert not files(spilled) and len(refs) == 10


def test_the_directory_goes_with_the_session(start: Start) -> None:
    spilled = start()
    refs = fill(20)
    assert files(spilled)
    (daemon,) = (row["pid"] for row in _core.procs() if row["role"] == DAEMON)
    whipray.shutdown()
    wait_until(lambda: process_gone(daemon))
    assert [path for path in spilled.rglob("*") if path.is_file()] == []
    assert len(refs) == 20


CRASH = """
import os, signal, sys, numpy as np, whipray as ray
from whipray import _core
ray.init(num_cpus=1, object_store_memory=48 << 20, object_spilling_directory=sys.argv[1])
refs = [ray.put(np.zeros(1 << 19)) for _ in range(20)]
(daemon,) = (row["pid"] for row in _core.procs() if row["role"] == 1)
os.kill(daemon, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_crash_leaves_is_removed_by_the_next_session(start: Start, tmp_path: Path) -> None:
    spilled = tmp_path / "spilled"
    program = textwrap.dedent(CRASH)
    subprocess.run([sys.executable, "-c", program, str(spilled)], timeout=50, check=False)
    left = files(spilled)
    assert left
    for path in spilled.rglob("session_*"):
        os.utime(path, (1, 1))  # long ago
    start()
    assert not any(path.exists() for path in left)


def test_configurations_that_cannot_be_used(tmp_path: Path) -> None:
    def refused(kind: type[BaseException], match: str, **args: Any) -> None:
        with pytest.raises(kind, match=match):
            whipray.init(num_cpus=1, **args)
        assert not whipray.is_initialized()

    def described(config: Any) -> dict[str, Any]:
        return {"_system_config": {"object_spilling_config": json.dumps(config)}}

    refused(ValueError, "Unknown external storage type", **described({"type": "tape"}))
    refused(ValueError, "directory_path", **described({"type": "filesystem", "params": {}}))
    refused(NotImplementedError, "smart_open", **described({"type": "smart_open"}))
    refused(ValueError, '"type"', **described({}))
    refused(TypeError, "must be a path", object_spilling_directory=3)
    (tmp_path / "file").touch()
    refused(OSError, "file", object_spilling_directory=str(tmp_path / "file"))
