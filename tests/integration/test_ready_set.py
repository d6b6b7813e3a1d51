"""ReadySet: what as_completed stands on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import whipray
from whipray import _core


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=2, log_to_driver=False)
    yield
    whipray.shutdown()


@pytest.fixture
def door(session: None) -> Any:
    """An actor whose `wait` ends once `open` was called."""

    @whipray.remote
    class Door:
        def __init__(self) -> None:
            import asyncio

            self.event = asyncio.Event()

        async def wait(self, value: Any = None) -> Any:
            await self.event.wait()
            return value

        async def open(self) -> None:
            self.event.set()

    return Door.remote()


def test_takes_each_reference_once(session: None) -> None:
    refs = [whipray.put(i) for i in range(2000)]
    left: _core.ReadySet[int] = _core.ReadySet(refs)
    taken = []
    while left:
        some = left.take(7)
        assert 1 <= len(some) <= 7
        taken += some
    assert taken == refs
    assert left.take() == []


def test_time_out_leaves_the_set_as_it_was(door: Any) -> None:
    left: _core.ReadySet[Any] = _core.ReadySet([door.wait.remote()])
    assert left.take(1, 0) == []
    assert left.take(1, 0.01) == []
    assert len(left) == 1
    door.open.remote()
    assert len(left.take(1)) == 1


def test_one_far_behind_many_pending_ones_is_found(door: Any) -> None:
    pending = [door.wait.remote() for _ in range(900)]
    late = whipray.remote(lambda: "late").remote()
    left: _core.ReadySet[Any] = _core.ReadySet([*pending, late])
    assert left.take(5) == [late]
    door.open.remote()
    assert sum(len(left.take(1000)) for _ in iter(lambda: bool(left), False)) == 900


def test_grows_and_starts_anew_when_empty(session: None) -> None:
    left: _core.ReadySet[int] = _core.ReadySet([])
    for round_ in range(3):
        refs = [whipray.put(round_) for _ in range(200)]
        for ref in refs:
            left.add(ref)
        assert left.take(200) == refs
        assert len(left) == 0


def test_lets_go_of_what_it_gave_away_and_of_the_rest(session: None) -> None:
    def used() -> int:
        return _core.stats()["store_used"]

    size = 1 << 20
    before = used()
    left: _core.ReadySet[bytes] = _core.ReadySet([whipray.put(bytes(size)) for _ in range(10)])
    full = used()
    assert full >= before + 10 * size
    left.take(4)
    assert used() <= full - 4 * size
    del left
    assert used() == before


def test_only_one_thread_at_a_time(door: Any) -> None:
    left: _core.ReadySet[Any] = _core.ReadySet([door.wait.remote(1)])
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(left.take()))
    thread.start()
    with pytest.raises(RuntimeError, match="another thread"):
        while thread.is_alive():
            left.add(whipray.put(0))
    door.open.remote()
    thread.join()
    assert len(got) == 1


def test_refuses_what_is_no_reference(session: None) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        _core.ReadySet([1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        _core.ReadySet(1)  # type: ignore[arg-type]
