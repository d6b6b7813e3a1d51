"""Iterators over shards that live in actors; groups of actors."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .helpers import Gate, Ray

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def it(part: Callable[[str], Any]) -> Any:
    return part("util.iter")


def test_names_and_shards(it: Any) -> None:
    found = it.from_items([1, 2, 3, 4], num_shards=2)
    assert repr(found) == "ParallelIterator[from_items[int, 4, shards=2]]"
    assert found.num_shards() == 2
    assert repr(found.for_each(str)).endswith(".for_each()]")
    with pytest.raises(TypeError, match="gather_sync"):
        iter(found)


def test_from_range_and_items(it: Any) -> None:
    assert list(it.from_range(5, num_shards=2).gather_sync()) == [0, 2, 1, 3, 4]
    assert list(it.from_items([1, 2, 3], num_shards=2).gather_sync()) == [1, 2, 3]
    assert it.from_items([]).take(3) == []


def test_from_iterators(it: Any) -> None:
    found = it.from_iterators([[1, 2], (3, 4), lambda: iter("ab")])
    assert sorted(map(str, found.gather_sync())) == ["1", "2", "3", "4", "a", "b"]


def test_repeat(it: Any) -> None:
    assert it.from_items([1, 2], num_shards=1, repeat=True).take(5) == [1, 2, 1, 2, 1]


def test_transformations(it: Any) -> None:
    found = it.from_range(8, num_shards=2).for_each(lambda x: x * 2).filter(lambda x: x % 4 == 0)
    assert sorted(found.gather_sync()) == [0, 4, 8, 12]
    batches = it.from_range(5, num_shards=1).batch(2)
    assert list(batches.gather_sync()) == [[0, 1], [2, 3], [4]]
    assert list(batches.flatten().gather_sync()) == [0, 1, 2, 3, 4]
    doubled = it.from_range(3, num_shards=1).combine(lambda x: [x, x])
    assert list(doubled.gather_sync()) == [0, 0, 1, 1, 2, 2]
    pairs = it.from_range(4, num_shards=1).transform(lambda items: itertools.pairwise(items))
    assert list(pairs.gather_sync()) == [(0, 1), (1, 2), (2, 3)]


def test_concurrent_functions(it: Any) -> None:
    found = it.from_range(6, num_shards=1).for_each(
        lambda x: x + 1, max_concurrency=2, resources={"num_cpus": 0}
    )
    assert sorted(found.gather_sync()) == [1, 2, 3, 4, 5, 6]


def test_local_shuffle(it: Any) -> None:
    found = it.from_range(20, num_shards=1)
    first = list(found.local_shuffle(5, seed=1).gather_sync())
    again = list(it.from_range(20, num_shards=1).local_shuffle(5, seed=1).gather_sync())
    assert first == again != list(range(20))
    assert sorted(first) == list(range(20))


def test_batch_across_shards(it: Any) -> None:
    found = it.from_iterators([[1, 2, 3], [10]]).batch_across_shards()
    assert list(found) == [[1, 10], [2], [3]]


@pytest.mark.parametrize("batch_ms, num_async", [(0, 1), (10, 1), (0, 3)])
def test_gather_async(it: Any, batch_ms: int, num_async: int) -> None:
    found = it.from_range(30, num_shards=2).gather_async(batch_ms=batch_ms, num_async=num_async)
    assert sorted(found) == list(range(30))


def test_gather_async_does_not_wait_for_the_slow(it: Any, gate: Callable[..., Gate]) -> None:
    door = gate()

    def slow() -> Iterator[str]:
        door.wait()
        yield "slow"

    found = iter(it.from_iterators([slow, lambda: iter("ab")]).gather_async())
    assert [next(found), next(found)] == ["a", "b"]
    door.open()
    assert list(found) == ["slow"]


def test_wrong_numbers(it: Any) -> None:
    found = it.from_range(4, num_shards=2)
    with pytest.raises(ValueError):
        found.gather_async(num_async=0)
    with pytest.raises(ValueError):
        found.gather_async(batch_ms=-1)
    with pytest.raises(ValueError):
        found.get_shard(2)
    with pytest.raises(ValueError):
        found.select_shards([])
    with pytest.raises(TypeError):
        found.union([1])


def test_union(it: Any) -> None:
    found = it.from_range(4, num_shards=1).union(it.from_items(["a", "b"], num_shards=1))
    assert found.num_shards() == 2
    assert Counter(map(str, found.gather_async())) == Counter(["0", "1", "2", "3", "a", "b"])
    with pytest.raises(ValueError, match="union"):
        found.select_shards([0])


def test_select_and_get_shards(it: Any) -> None:
    found = it.from_iterators([[1, 2], [3], [4, 5]])
    assert sorted(found.select_shards([0, 2]).gather_sync()) == [1, 2, 4, 5]
    assert [list(shard) for shard in found.for_each(lambda x: -x).shards()] == [
        [-1, -2],
        [-3],
        [-4, -5],
    ]


def test_repartition(it: Any) -> None:
    found = it.from_range(7, num_shards=2).repartition(3)
    assert found.num_shards() == 3
    assert sorted(found.gather_async()) == list(range(7))
    shards = [sorted(shard) for shard in it.from_range(7, num_shards=1).repartition(2).shards()]
    assert shards == [[0, 2, 4, 6], [1, 3, 5]]


def test_errors_reach_the_reader(it: Any) -> None:
    def fail(x: int) -> int:
        raise KeyError(x)

    with pytest.raises(KeyError):
        list(it.from_range(3, num_shards=1).for_each(fail).gather_sync())


def test_a_shard_travels(it: Any, ray: Ray) -> None:
    shard = it.from_range(4, num_shards=1).for_each(lambda x: x + 1).get_shard(0)

    @ray.remote(num_cpus=0)
    def read(shards: list[Any]) -> list[int]:
        return list(shards[0].filter(lambda x: x > 1))

    assert ray.get(read.remote([shard])) == [2, 3, 4]


def test_local_transformations(it: Any) -> None:
    local = it.from_range(6, num_shards=1).gather_sync()
    found = local.for_each(lambda x: x + 1).filter(lambda x: x % 2 == 0).batch(2)
    assert list(found) == [[2, 4], [6]]
    shuffled = list(it.from_range(9, num_shards=1).gather_sync().shuffle(4, seed=3))
    assert sorted(shuffled) == list(range(9)) != shuffled


def test_zip_with_source_actor(it: Any) -> None:
    found = list(it.from_range(4, num_shards=2).gather_async().zip_with_source_actor())
    assert sorted(item for _, item in found) == [0, 1, 2, 3]
    assert len({actor for actor, _ in found}) == 2


def test_local_union(it: Any) -> None:
    def numbers(n: int) -> Any:
        return it.from_range(n, num_shards=1).gather_sync()

    assert sorted(numbers(3).union(numbers(2))) == [0, 0, 1, 1, 2]
    assert list(numbers(3).union(numbers(3), deterministic=True)) == [0, 0, 1, 1, 2, 2]
    weighted = list(numbers(4).union(numbers(2), round_robin_weights=[2, 1]))
    assert weighted == [0, 1, 0, 2, 3, 1]
    with pytest.raises(ValueError):
        numbers(1).union([1])


def test_duplicate(it: Any) -> None:
    first, second = it.from_range(3, num_shards=1).gather_sync().duplicate(2)
    both = first.for_each(lambda x: ("a", x)).union(second.for_each(lambda x: ("b", x)))
    assert sorted(both) == [(name, x) for name in "ab" for x in range(3)]
    with pytest.raises(ValueError):
        it.from_range(3).gather_sync().duplicate(1)


def test_metrics(it: Any) -> None:
    def count(x: int) -> int:
        it.LocalIterator.get_metrics().counters["seen"] += x
        return x

    local = it.from_range(4, num_shards=1).gather_sync().for_each(count)
    list(local)
    assert local.shared_metrics.get().counters["seen"] == 6
    shared = local.shared_metrics.get().save()
    assert shared["counters"] == {"seen": 6}


def test_own_actors(it: Any, ray: Ray) -> None:
    class Worker(it.ParallelIteratorWorker):  # type: ignore[misc]
        def __init__(self, n: int) -> None:
            super().__init__(range(n), repeat=False)

    actors = [ray.remote(num_cpus=0)(Worker).remote(n) for n in (2, 3)]
    assert sorted(it.from_actors(actors).gather_sync()) == [0, 0, 1, 1, 2]


# ---- groups of actors ----------------------------------------------------------------------------


class Adder:
    def __init__(self, base: int = 0) -> None:
        self.base = base

    def add(self, x: int) -> int:
        return self.base + x


def test_actor_group(ray: Ray, part: Callable[[str], Any]) -> None:
    group = part("util.actor_group").ActorGroup(
        Adder, num_actors=2, num_cpus_per_actor=0, init_args=(10,), init_kwargs={}
    )
    assert len(group) == 2
    assert ray.get(group.add.remote(1)) == [11, 11]
    with pytest.raises(TypeError, match="remote"):
        group.add(1)
    group.add_actors(1)
    assert ray.get(group.add.remote(2)) == [12, 12, 12]
    assert ray.get(group[0].actor.add.remote(0)) == 10
    group.remove_actors([0, 1])
    assert len(group) == 1
    with pytest.raises(RuntimeError, match="already"):
        group.start()
    group.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        _ = group.add
    group.start()
    assert ray.get(group.add.remote(5)) == [15, 15]
    group.shutdown(patience_s=0)


def test_wrong_groups(part: Callable[[str], Any]) -> None:
    for wrong in ({"num_actors": 0}, {"num_cpus_per_actor": -1}, {"num_gpus_per_actor": -1}):
        with pytest.raises(ValueError):
            part("util.actor_group").ActorGroup(Adder, **wrong)
