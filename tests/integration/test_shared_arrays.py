"""Arrays made within whipray.util.shared_arrays(): put without a copy, snapshots all the same."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import whipray
from tests.compat.helpers import wait_until
from tests.integration.records import wait_until_whole
from whipray import _core
from whipray.util import shared_arrays

MIB = 1 << 20
COUNT = 2 * MIB // 8
STORE = 256 * MIB


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=2, log_to_driver=False, object_store_memory=STORE)
    yield
    if whipray.is_initialized():
        wait_until_whole()
        whipray.shutdown()
    assert _core.shared_count() == (0, 0)
    assert b"memfd:whipray" not in mappings()


def mappings() -> bytes:
    with open("/proc/self/maps", "rb") as file:
        return file.read()


def numbers(count: int = COUNT) -> Any:
    """An array in the store that is not put yet."""
    before = sum(_core.shared_count())
    with shared_arrays():
        array = np.empty(count, dtype=np.int64)
    assert sum(_core.shared_count()) == before + 1
    array[:] = range(count) if count < 1000 else np.arange(count)
    return array


def stored(value: Any) -> Any:
    """A reference; the array in the value was not copied."""
    open_before, put_before = _core.shared_count()
    ref = whipray.put(value)
    assert _core.shared_count() == (open_before - 1, put_before + 1)
    return ref


def parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def segment_bytes() -> int:
    """What the system has given to the session's memory."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "memfd:whipray" in os.readlink(f"/proc/self/fd/{fd}"):
                return os.stat(f"/proc/self/fd/{fd}").st_blocks * 512
        except FileNotFoundError:
            continue
    raise AssertionError("this process has no segment")


# ---- snapshots ----------------------------------------------------------------------------------


def test_the_stored_value_keeps_what_was_there(session: None) -> None:
    array = numbers()
    ref = stored(array)
    before = whipray.get(ref)
    array[0] = 7
    array[COUNT // 2 :] += 1
    np.multiply(array[:100], 2, out=array[100:200])
    for seen in (before, whipray.get(ref)):
        assert np.array_equal(seen, np.arange(COUNT))
        assert not seen.flags.writeable
    assert (array[0], array[1], array[COUNT // 2]) == (7, 1, COUNT // 2 + 1)
    assert array.flags.writeable


def test_other_processes_see_the_snapshot(session: None) -> None:
    array = numbers()
    ref = stored(array)
    array[:] = -1
    total = whipray.remote(lambda a: (int(a.sum()), bool(a.flags.writeable)))
    assert whipray.get(total.remote(ref)) == (COUNT * (COUNT - 1) // 2, False)
    assert int(array.sum()) == -COUNT


def test_an_array_is_put_once_without_a_copy_and_then_copied(session: None) -> None:
    array = numbers()
    first = stored(array)
    array += 1
    second = whipray.put(array)
    array += 1
    assert _core.shared_count() == (0, 1)
    assert int(whipray.get(first)[0]) == 0
    assert int(whipray.get(second)[0]) == 1
    assert int(array[0]) == 2


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "c16", "?", "U7", "S5", "M8[s]", "f8,i4"])
def test_element_types_and_orders(session: None, dtype: str, order: Any) -> None:
    expected = np.arange(1_200_000).astype("i4").astype(dtype).reshape(1000, -1)
    with shared_arrays():
        array = np.empty(expected.shape, dtype, order=order)
    array[...] = expected
    ref = whipray.put(array) if dtype.startswith("M8") else stored(array)  # has no buffer protocol
    array[...] = np.zeros((), dtype)
    got = whipray.get(ref)
    assert got.dtype == expected.dtype
    assert np.isfortran(got) == (order == "F")
    assert np.array_equal(got, expected)


def test_views_and_containers(session: None) -> None:
    for wrap, unwrap in [
        (lambda a: a.reshape(-1, 2), lambda v: v.ravel()),
        (lambda a: a.T, lambda v: v),
        (lambda a: a[:-10], lambda v: v),
        (lambda a: (a, "text"), lambda v: v[0]),
        (lambda a: {"x": a, "y": np.arange(1000)}, lambda v: v["x"]),
        (lambda a: [np.arange(100), a, b"x" * 5000], lambda v: v[1]),
        (lambda a: [{"deep": (a,)}], lambda v: v[0]["deep"][0]),
    ]:
        array = numbers()
        ref = stored(wrap(array))
        array[:] = 0
        got = unwrap(whipray.get(ref))
        assert np.array_equal(got, np.arange(len(got)))
        assert len(got) >= COUNT - 10


def test_what_lies_beside_the_array_in_a_value(session: None) -> None:
    array = numbers()
    inner = whipray.put("inner")
    ref = stored({"front": np.arange(300), "main": array, "refs": [inner], "back": b"b" * 9000})
    del inner
    array[:] = 0
    got = whipray.get(ref)
    assert np.array_equal(got["front"], np.arange(300))
    assert np.array_equal(got["main"], np.arange(COUNT))
    assert whipray.get(got["refs"]) == ["inner"]
    assert got["back"] == b"b" * 9000


def test_what_is_copied_as_ever(session: None) -> None:
    for change in [
        lambda a: a[10:],
        lambda a: a[::2],
        lambda a: a[:1000],
        lambda a: (a[:-10], np.arange(5000)),  # would lie on the rest of the array
        lambda a: (a, np.arange(COUNT)),
        lambda a: (a, a),
        lambda a: (np.arange(COUNT // 2), a),
    ]:
        array = numbers()
        value = change(array)
        expected = pickle.dumps(value, 5)
        ref = whipray.put(value)
        assert _core.shared_count() == (1, 0) or isinstance(value, tuple)
        array[:] = 0
        got = whipray.get(ref)
        whole = pickle.loads(expected)
        for one, other in zip(parts(got), parts(whole), strict=True):
            assert np.array_equal(one, other)
        del array, value, got, ref


def test_data_frames(session: None) -> None:
    pandas = pytest.importorskip("pandas")
    with shared_arrays():
        array = np.empty((10, COUNT // 10))
    array[:] = 3
    frame = pandas.DataFrame(array.T, copy=False)
    ref = stored(frame)
    array[:] = 4
    assert whipray.get(ref).equals(frame - 1)


def test_threads_that_write_while_the_array_is_put(session: None) -> None:
    with shared_arrays():
        array = np.zeros(32 * MIB // 8, dtype=np.int64)
    pages = array.reshape(-1, 512)
    stop = threading.Event()

    def count(part: Any) -> int:
        rounds = 0
        while not stop.is_set():
            part += 1  # without the GIL
            rounds += 1
        return rounds

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        half = len(pages) // 2
        futures = [pool.submit(count, part) for part in (pages[:half], pages[half:])]
        wait_until(lambda: array[0] > 2 and array[-1] > 2)
        ref = stored(array)
        snapshot = whipray.get(ref)
        seen = snapshot.copy()
        at_least = array[0], array[-1]
        wait_until(lambda: array[0] > at_least[0] + 2 and array[-1] > at_least[1] + 2)
        stop.set()
        rounds = [future.result() for future in futures]
    assert np.array_equal(snapshot, seen)
    assert [set(pages[:half].ravel()), set(pages[half:].ravel())] == [{rounds[0]}, {rounds[1]}]
    for part in (snapshot[: half * 512], snapshot[half * 512 :]):
        assert part.max() - part.min() <= 1


# ---- arguments and results ----------------------------------------------------------------------


def test_arguments(session: None) -> None:
    total = whipray.remote(lambda a, k=0: int(a.sum()) + k)
    array = numbers()
    ref = total.remote(array)
    assert _core.shared_count() == (0, 1)
    array[:] = 0
    assert whipray.get(ref) == COUNT * (COUNT - 1) // 2
    other = numbers()
    ref = total.remote(other, k=5)
    assert _core.shared_count() == (0, 2)
    other[:] = 0
    assert whipray.get(ref) == COUNT * (COUNT - 1) // 2 + 5


def test_results_of_tasks_and_actors(session: None) -> None:
    @whipray.remote
    class Maker:
        kept: Any

        def make(self, keep: bool) -> Any:
            with shared_arrays():
                array = np.empty(COUNT, dtype=np.int64)
            array[:] = np.arange(COUNT)
            if keep:
                self.kept = array
            return array

        def put(self) -> Any:
            self.make(keep=True)
            ref = whipray.put(self.kept)
            self.kept[:] = 5
            return [ref]

        def count(self) -> Any:
            return _core.shared_count(), int(self.kept[0])

    maker = Maker.remote()
    for keep in (False, True, False):
        array = whipray.get(maker.make.remote(keep))
        assert np.array_equal(array, np.arange(COUNT))
    (ref,) = whipray.get(maker.put.remote())
    assert np.array_equal(whipray.get(ref), np.arange(COUNT))
    assert whipray.get(maker.count.remote()) == ((0, 1), 5)
    whipray.kill(maker)
    assert np.array_equal(whipray.get(ref), np.arange(COUNT))
    whipray.get([whipray.remote(lambda: np.ones(COUNT)).remote() for _ in range(20)])
    assert np.array_equal(whipray.get(ref), np.arange(COUNT))


# ---- memory -------------------------------------------------------------------------------------


def test_bytes_are_in_memory_once(session: None) -> None:
    size = 64 * MIB
    before = segment_bytes()
    array = numbers(size // 8)
    assert segment_bytes() - before < size + 2 * MIB
    ref = stored(array)
    assert segment_bytes() - before < size + 2 * MIB
    assert int(array.sum()) == int(whipray.get(ref).sum())
    assert segment_bytes() - before < size + 2 * MIB
    with open("/proc/self/smaps_rollup") as file:
        pss = next(int(line.split()[1]) for line in file if line.startswith("Pss_Anon"))
    array[: MIB // 8] = 0
    with open("/proc/self/smaps_rollup") as file:
        grown = next(int(line.split()[1]) for line in file if line.startswith("Pss_Anon")) - pss
    assert 1000 <= grown <= 4000  # KiB: what was written


@pytest.mark.parametrize("array_first", [True, False])
def test_array_and_reference_go_in_any_order(session: None, array_first: bool) -> None:
    used = _core.stats()["store_used"]
    for _ in range(100):  # more than the store has room for
        array = numbers(8 * MIB // 8)
        ref = stored(array)
        if array_first:
            del array
            assert int(whipray.get(ref)[-1]) == MIB - 1
            del ref
        else:
            del ref
            others = [whipray.put(np.zeros(MIB)) for _ in range(3)]
            assert int(array[-1]) == MIB - 1
            del array, others
        assert _core.shared_count() == (0, 0)
    wait_until(lambda: _core.stats()["store_used"] <= used + MIB)


def test_arrays_that_are_never_put(session: None) -> None:
    used = _core.stats()["store_used"]
    arrays = [numbers() for _ in range(20)]
    assert _core.shared_count() == (20, 0)
    assert _core.stats()["store_used"] >= used + 40 * MIB
    assert all(int(a[-1]) == COUNT - 1 for a in arrays)
    del arrays[::2]
    assert all(int(a[-1]) == COUNT - 1 for a in arrays)
    arrays.clear()
    assert _core.shared_count() == (0, 0)
    assert _core.stats()["store_used"] <= used + MIB


def test_only_a_part_of_the_store_is_for_arrays_that_are_not_put(session: None) -> None:
    with shared_arrays():
        arrays = [np.empty(8 * MIB, dtype="u1") for _ in range(40)]
        huge = np.empty(2 * STORE, dtype="u1")
        small = np.empty(1000)
    assert 12 <= _core.shared_count()[0] <= 16
    for number, array in enumerate(arrays):
        array[:] = number
    refs = [whipray.put(array) for array in arrays[:20]]
    assert [int(whipray.get(ref)[-1]) for ref in refs] == list(range(20))
    assert [int(array[0]) for array in arrays] == list(range(40))
    del huge, small


def test_spilling_goes_on_beside_arrays_that_live(session: None) -> None:
    kept = [numbers(16 * MIB // 8) for _ in range(4)]
    mine = [stored(array) for array in kept]
    others = [whipray.put(np.full(16 * MIB // 8, k)) for k in range(20)]
    for array in kept:
        array += 1
    refs = []
    for k in range(20):
        with shared_arrays():
            array = np.full(16 * MIB // 8, k)
        refs.append(whipray.put(array))
        array[:] = -1
        del array
    assert [int(whipray.get(ref)[-1]) for ref in refs] == list(range(20))
    assert [int(whipray.get(ref)[5]) for ref in others] == list(range(20))
    assert all(int(whipray.get(ref)[5]) == 5 for ref in mine)
    assert all(int(array[5]) == 6 for array in kept)


def test_zeros_are_zero_whatever_was_there(session: None) -> None:
    for _ in range(3):
        with shared_arrays():
            array = np.zeros(COUNT)
        assert _core.shared_count() == (1, 0)
        assert not array.any()
        array[:] = 7
        del array


def test_arrays_that_are_resized(session: None) -> None:
    array = numbers()
    with shared_arrays():
        array.resize(2 * COUNT, refcheck=False)
    assert _core.shared_count() == (1, 0)
    array[COUNT:] = -1
    ref = stored(array)
    array.resize(COUNT // 2, refcheck=False)
    assert np.array_equal(array, np.arange(COUNT // 2))
    assert int(whipray.get(ref)[-1]) == -1
    array.resize(10, refcheck=False)
    assert list(array) == list(range(10))
    assert _core.shared_count() == (0, 0)


def test_pickles_of_arrays_are_those_of_others(session: None) -> None:
    array = numbers()
    ref = stored(array)
    array += 1
    assert np.array_equal(pickle.loads(pickle.dumps(array[5:50])), np.arange(6, 51))
    assert np.array_equal(array.copy(), np.arange(COUNT) + 1)
    assert np.array_equal(whipray.get(ref), np.arange(COUNT))


# ---- sessions and forks -------------------------------------------------------------------------


def test_sessions_end_and_arrays_live() -> None:
    arrays = []
    for k in range(3):
        whipray.init(num_cpus=1, log_to_driver=False, object_store_memory=STORE)
        fresh = numbers()
        with shared_arrays():
            put = np.arange(COUNT) + k
        ref = stored(put)
        put[0] = -k
        whipray.shutdown()
        assert _core.shared_count() == (0, 0)
        fresh[0] = 50 + k
        put[1] = 60 + k
        arrays.append((put, fresh))
        del ref
    whipray.init(num_cpus=1, log_to_driver=False, object_store_memory=STORE)
    assert int(whipray.get(whipray.put(arrays[0][0]))[1]) == 60
    for k, (put, fresh) in enumerate(arrays):
        assert (int(put[0]), int(put[1]), int(fresh[0]), int(fresh[1])) == (-k, 60 + k, 50 + k, 1)
        assert np.array_equal(put[2:], np.arange(2, COUNT) + k)
        assert np.array_equal(fresh[1:], np.arange(1, COUNT))
    del put, fresh
    arrays.clear()
    whipray.shutdown()


def test_a_forked_child_and_its_parent_do_not_see_each_other_write(session: None) -> None:
    put, fresh = numbers(), numbers()
    ref = stored(put)
    go, gone = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            put[1] = fresh[1] = 99
            os.read(go[0], 1)  # the parent has dropped its arrays, and others are there
            if (put[0], put[1], fresh[1]) == (0, 99, 99) and list(put[2:]) == list(fresh[2:]):
                code = int(not np.array_equal(put[2:], np.arange(2, COUNT)))
            del put, fresh
        finally:
            os._exit(code)
    put[0] = 5
    assert (int(put[0]), int(put[1]), int(fresh[1])) == (5, 1, 1)
    assert np.array_equal(whipray.get(ref), np.arange(COUNT))
    del put, fresh, ref
    for _ in range(10):
        whipray.put(np.full(COUNT, -1))
    others = [numbers() for _ in range(10)]
    for array in others:
        array[:] = -3
    os.write(go[1], b"x")
    assert os.waitpid(pid, 0)[1] == 0
    for fd in (*go, *gone):
        os.close(fd)


def test_the_scope_is_one_of_a_thread(session: None) -> None:
    elsewhere: list[Any] = []
    with shared_arrays(), shared_arrays():
        thread = threading.Thread(target=lambda: elsewhere.append(np.empty(COUNT)))
        thread.start()
        thread.join()
        assert _core.shared_count() == (0, 0)
        here = np.empty(COUNT)
        assert _core.shared_count() == (1, 0)
    outside = np.empty(COUNT)
    assert _core.shared_count() == (1, 0)
    del here, outside


def test_as_a_decorator(session: None) -> None:
    @shared_arrays()
    def make() -> Any:
        return np.ones(COUNT)

    a, b = make(), make()
    assert _core.shared_count() == (2, 0)
    with pytest.raises(ZeroDivisionError), shared_arrays():
        raise ZeroDivisionError
    del a, b


def test_it_starts_a_session() -> None:
    assert not whipray.is_initialized()
    with shared_arrays():
        assert whipray.is_initialized()
        array = np.empty(COUNT)
        assert _core.shared_count() == (1, 0)
        whipray.shutdown()
        other = np.ones(COUNT)
        assert _core.shared_count() == (0, 0)
    array[:] = other
    del array, other


JOINED = """
    import json, sys
    import numpy as np, whipray
    from whipray import _core
    from whipray.util import shared_arrays
    whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
    with shared_arrays():
        put, fresh = np.full(500_000, 7), np.full(500_000, 8)
        written = np.full(500_000, 9)
    refs = [whipray.put(put), whipray.put(written)]
    written[:250_000] = 10
    assert _core.shared_count() == (1, 2)
    if sys.argv[2] == "shutdown":
        whipray.shutdown()
    print("there", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "shutdown":
        assert _core.shared_count() == (0, 0)
    put[0] = fresh[0] = 1
    found = [int(a[1]) for a in (put, fresh, written)] + [int(a[-1]) for a in (put, fresh, written)]
    if sys.argv[2] == "dead":
        whipray.shutdown()
        found += [int(put[-1]), int(fresh[-1]), int(written[1])]
    print(json.dumps(found))
"""


def joined(session_dir: str, how: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(JOINED), session_dir, how],
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_driver_leaves_a_session_that_goes_on(session: None) -> None:
    used = _core.stats()["store_used"]
    with joined(_core.info()["session_dir"], "shutdown") as driver:
        assert driver.stdout.readline() == "there\n"
        wait_until(lambda: _core.stats()["store_used"] <= used + MIB)
        others = [whipray.put(np.full(500_000, -1)) for _ in range(10)]
        answer = json.loads(driver.communicate("go\n", timeout=60)[0])
    assert answer == [7, 8, 10, 7, 8, 9]
    assert len(others) == 10


def test_the_daemon_dies() -> None:
    whipray.init(num_cpus=1, log_to_driver=False, object_store_memory=STORE)
    info = _core.info()
    array = numbers()
    ref = stored(array)
    with joined(info["session_dir"], "dead") as driver:
        assert driver.stdout.readline() == "there\n"
        os.kill(info["daemon_pid"], signal.SIGKILL)
        answer = json.loads(driver.communicate("go\n", timeout=60)[0])
    assert answer == [7, 8, 10, 7, 8, 9, 7, 8, 10]
    array[0] = 5
    whipray.shutdown()
    assert np.array_equal(array[1:], np.arange(1, COUNT))
    del array, ref


def test_a_worker_that_is_killed_leaves_its_values(session: None) -> None:
    @whipray.remote
    class Keeper:
        def keep(self, count: int) -> Any:
            with shared_arrays():
                self.put = [np.full(COUNT, k) for k in range(count)]
                self.fresh = [np.full(COUNT, -1) for k in range(count)]
            refs = [whipray.put(array) for array in self.put]
            for array in self.put:
                array[: COUNT // 2] = -2
            return refs

    used = _core.stats()["store_used"]
    for _ in range(4):
        keeper = Keeper.remote()
        refs = whipray.get(keeper.keep.remote(8))
        whipray.kill(keeper)
        for k, value in enumerate(whipray.get(refs)):
            assert value.min() == value.max() == k
        del refs, value
    wait_until(lambda: _core.stats()["store_used"] <= used + MIB)


def test_without_numpy() -> None:
    program = """
        import sys
        sys.modules["numpy"] = None
        import whipray
        try:
            with whipray.util.shared_arrays():
                pass
        except ImportError as error:
            print(error)
        assert not whipray.is_initialized()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert "NumPy, which is missing" in done.stdout, done.stderr
