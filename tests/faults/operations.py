"""What the sweeps do: each operation is done again and again, with one more call failing.

An operation of a driver is a function that does one thing in a session that is open, and checks
what came of it; what it has to clean up even if it fails goes to `afterwards`.  `OPEN` names those
that start and end their own session; `LIFE` is what a whole session goes through while a call of
its daemon, its fork server or a worker fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import whipray
from whipray import _core

MIB = 1 << 20
STORE = 40 * MIB
SECONDS = 60
"""No wait of an operation is longer: what takes so long hangs."""


@whipray.remote(max_retries=3)
def double(value: Any) -> Any:
    return value * 2


@whipray.remote(max_retries=3)
def speak(text: str) -> str:
    print(text)
    return text


@whipray.remote(num_returns=2)
def pair(value: bytes) -> tuple[bytes, bytes]:
    return value, value * 2


@whipray.remote(max_retries=3)
def count(n: int) -> Any:
    yield from range(n)


@whipray.remote
def sleep_until(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.01)


@whipray.remote
def ask_to_sleep(started: str, end: str) -> None:
    child = sleep_until.remote(end)
    Path(started).touch()
    whipray.get(child)


@whipray.remote(max_restarts=5, max_task_retries=5)
class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    async def echo(self, value: Any) -> Any:
        return value


@whipray.remote(max_restarts=5, max_task_retries=5)
class Tally:
    def __init__(self, start: int) -> None:
        self.value = start

    def get(self) -> int:
        return self.value


def get(refs: Any) -> Any:
    return whipray.get(refs, timeout=SECONDS)


def wait_for(what: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < limit, "nothing has come of it"
        time.sleep(0.01)


_left: list[Callable[[], None]] = []


def afterwards(clean: Callable[[], None]) -> None:
    """Have something cleaned up by `clean_up`, when nothing fails any more."""
    _left.append(clean)


def clean_up() -> None:
    while _left:
        _left.pop()()


# ---- of a driver, in an open session ----------------------------------------------------------


def put_small() -> None:
    assert get(whipray.put({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}


def put_large() -> None:
    data = bytes(range(256)) * 4096
    assert get(whipray.put(data)) == data


def put_array() -> None:
    import numpy as np

    array = np.arange(300_000)
    view = get(whipray.put(array))
    assert int(view[-1]) == 299_999 and not view.flags.writeable


def put_fresh_array() -> None:
    import numpy as np

    array = np.zeros(2 * MIB // 8)
    array[7] = 1
    ref = whipray.put(array)
    array[7] = 2
    assert float(get(ref)[7]) == 1


def task() -> None:
    assert get(double.remote(4)) == 8


def task_with_arguments() -> None:
    refs = [whipray.put(k) for k in range(4)]
    assert get([double.remote(ref) for ref in refs]) == [0, 2, 4, 6]
    assert len(get(double.remote(b"x" * 300_000))) == 600_000


def several_returns() -> None:
    one, two = pair.remote(b"y" * 5000)
    assert (len(get(one)), len(get(two))) == (5000, 10000)


def new_function() -> None:
    @whipray.remote
    def fresh(x: int) -> int:
        return x + 1

    assert get(fresh.options(num_cpus=0.5).remote(1)) == 2


def wait() -> None:
    refs = [double.remote(k) for k in range(6)]
    ready, rest = whipray.wait(refs, num_returns=6, timeout=SECONDS)
    assert len(ready) == 6 and not rest


def actor() -> None:
    counter = Tally.remote(5)
    assert get(counter.get.remote()) == 5
    whipray.kill(counter)


def named_actor() -> None:
    counter = Tally.options(name="it").remote(6)
    assert get(whipray.get_actor("it").get.remote()) == 6
    whipray.kill(counter)


def async_actor() -> None:
    counter = Counter.remote(1)
    assert get([counter.add.remote(1), counter.echo.remote("z")]) == [2, "z"]
    whipray.kill(counter)


def generator() -> None:
    assert [get(ref) for ref in count.remote(5)] == [0, 1, 2, 3, 4]


def cancel() -> None:
    end = Path(os.environ["FAULTS_FOLDER"], f"end-{time.monotonic_ns()}")
    try:
        ref = sleep_until.remote(str(end))
        whipray.cancel(ref, force=True)
        get(ref)
    except (whipray.exceptions.TaskCancelledError, whipray.exceptions.WorkerCrashedError):
        return
    finally:
        end.touch()
    raise AssertionError("the task was not cancelled")


def cancel_family() -> None:
    """What a cancelled task has submitted ends with it, or cancel() says that it may not."""
    from whipray.util import state

    end = Path(os.environ["FAULTS_FOLDER"], f"end-{time.monotonic_ns()}")
    started = end.with_suffix(".started")
    try:
        ref = ask_to_sleep.remote(str(started), str(end))
        wait_for(started.exists)
        whipray.cancel(ref, force=True)
        wait_for(lambda: not [row for row in state.list_tasks() if row.state == "RUNNING"])
    finally:
        end.touch()


def spill() -> None:
    refs = [whipray.put(bytes([k]) * (6 * MIB)) for k in range(10)]
    for k in range(10):
        assert get(refs[k])[-1] == k


def placement_group() -> None:
    from whipray.util.placement_group import placement_group as make
    from whipray.util.placement_group import remove_placement_group

    group = make([{"CPU": 1}])
    afterwards(lambda: remove_placement_group(group))
    assert group.wait(SECONDS)
    inside = double.options(placement_group=group)
    assert get(inside.remote(3)) == 6


def look_around() -> None:
    from whipray.util import state

    assert whipray.cluster_resources()["CPU"] == 2
    assert whipray.nodes()[0]["Alive"]
    state.list_tasks()
    state.list_actors()


DRIVER: tuple[Callable[[], None], ...] = (
    put_small,
    put_large,
    put_array,
    put_fresh_array,
    task,
    task_with_arguments,
    several_returns,
    new_function,
    wait,
    actor,
    named_actor,
    async_actor,
    generator,
    cancel,
    cancel_family,
    spill,
    placement_group,
    look_around,
)

# ---- a session from its start to its end ---------------------------------------------------------


def open_session() -> None:
    try:
        whipray.init(num_cpus=2, object_store_memory=STORE, include_dashboard=False)
    except BaseException:
        assert not _core.attached(), "init() has failed and left a session"
        raise


def session() -> None:
    open_session()
    assert get(double.remote(1)) == 2
    whipray.shutdown()


def life() -> None:
    """A bit of everything that needs the daemon or a worker."""
    open_session()
    assert get(speak.remote("hello")) == "hello"
    task_with_arguments()
    async_actor()
    named_actor()
    generator()
    new_function()
    placement_group()
    spill()
    cancel()
    clean_up()
    whipray.shutdown()


OPEN: tuple[Callable[[], None], ...] = (session,)
LIFE: tuple[Callable[[], None], ...] = (life,)
NAMES = {operation.__name__: operation for operation in DRIVER + OPEN + LIFE}
