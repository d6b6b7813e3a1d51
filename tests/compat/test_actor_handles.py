"""Handles: passed anywhere, compared, counted; the actor ends with the last one."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import weakref
from typing import Any

import pytest

from .helpers import Journal, Ray, process_gone, wait_until


class Counter:
    def __init__(self) -> None:
        self.n = 0

    def add(self) -> int:
        self.n += 1
        return self.n

    def pid(self) -> int:
        return os.getpid()


def test_handle_as_argument(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    task = ray.remote(lambda handle: ray.get(handle.add.remote()))
    assert sorted(ray.get([task.remote(counter) for _ in range(4)])) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda h: [h], lambda v: v[0]),
        (lambda h: {"k": (h,)}, lambda v: v["k"][0]),
        (lambda h: {h: 1}, lambda v: next(iter(v))),
        (lambda h: lambda: h, lambda v: v()),
    ],
    ids=["list", "dict and tuple", "dict key", "closure"],
)
def test_handle_nested_in_values(ray: Ray, wrap: Any, unwrap: Any) -> None:
    counter = ray.remote(Counter).remote()
    task = ray.remote(lambda box: ray.get(unwrap(box).add.remote()))
    assert ray.get(task.remote(wrap(counter))) == 1
    assert ray.get(counter.add.remote()) == 2


def test_handle_in_a_put(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    assert ray.get(ray.get(ray.put({"h": counter}))["h"].add.remote()) == 1
    assert ray.get(ray.get(ray.put(counter)).add.remote()) == 2


def test_handle_returned_by_a_task(ray: Ray) -> None:
    make = ray.remote(lambda: ray.remote(Counter).remote())
    counter = ray.get(make.remote())
    assert ray.get([counter.add.remote(), counter.add.remote()]) == [1, 2]


def test_handle_passed_down_a_chain(ray: Ray) -> None:
    @ray.remote
    def down(handle: Any, depth: int) -> int:
        if depth:
            return int(ray.get(down.remote(handle, depth - 1)))
        return int(ray.get(handle.add.remote()))

    counter = ray.remote(Counter).remote()
    assert ray.get(down.remote(counter, 3)) == 1


def test_handle_kept_by_another_actor(ray: Ray) -> None:
    @ray.remote
    class Keeper:
        def keep(self, handle: Any) -> None:
            self.handle = handle

        def use(self) -> int:
            return int(ray.get(self.handle.add.remote()))

    counter = ray.remote(Counter).remote()
    keeper = Keeper.remote()
    ray.get(keeper.keep.remote(counter))
    del counter
    gc.collect()
    assert ray.get([keeper.use.remote(), keeper.use.remote()]) == [1, 2]


def test_equal_and_hash_by_actor(ray: Ray) -> None:
    first, second = ray.remote(Counter).remote(), ray.remote(Counter).remote()
    again = ray.get(ray.put([first]))[0]
    assert first == again
    assert hash(first) == hash(again)
    assert first != second
    assert len({first, second, again}) == 2
    assert first != "text"


def test_copies_of_a_handle(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    assert ray.get(copy.copy(counter).add.remote()) == 1
    assert ray.get(copy.deepcopy([counter])[0].add.remote()) == 2


def test_handle_pickled_by_the_program(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    again = pickle.loads(ray.cloudpickle.dumps(counter))
    assert again == counter
    assert ray.get(again.add.remote()) == 1


def test_actor_gets_a_handle_to_itself(ray: Ray) -> None:
    @ray.remote
    class Self:
        def keep(self, me: Any) -> None:
            self.me = me

        def call(self) -> Any:
            return self.me.value.remote()

        def value(self) -> int:
            return 3

    actor = Self.remote()
    ray.get(actor.keep.remote(actor))
    assert ray.get(ray.get(actor.call.remote())) == 3


def test_actor_ends_when_the_handle_goes(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    pid = ray.get(counter.pid.remote())
    del counter
    gc.collect()
    wait_until(lambda: process_gone(pid))


def test_actor_lives_while_a_copy_lives(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    pid = ray.get(counter.pid.remote())
    box = [copy.copy(counter)]
    del counter
    gc.collect()
    assert ray.get(box[0].add.remote()) == 1
    assert not process_gone(pid)
    box.clear()
    gc.collect()
    wait_until(lambda: process_gone(pid))


def test_actor_lives_while_a_handle_is_in_the_store(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    pid = ray.get(counter.pid.remote())
    ref = ray.put([counter])
    del counter
    gc.collect()
    assert ray.get(ray.get(ref)[0].add.remote()) == 1
    del ref
    gc.collect()
    wait_until(lambda: process_gone(pid))


def test_actor_lives_while_a_task_uses_its_handle(ray: Ray, gate: Any) -> None:
    door = gate("door")

    @ray.remote
    def use(handle: Any) -> int:
        door.wait()
        return int(ray.get(handle.add.remote()))

    counter = ray.remote(Counter).remote()
    pid = ray.get(counter.pid.remote())
    ref = use.remote(counter)
    del counter
    gc.collect()
    door.open()
    assert ray.get(ref) == 1
    wait_until(lambda: process_gone(pid))


def test_queued_calls_finish_before_the_actor_ends(ray: Ray, gate: Any, journal: Journal) -> None:
    started, door = gate("started"), gate("door")

    @ray.remote
    class Note:
        def block(self) -> None:
            started.open()
            door.wait()

        def note(self, i: int) -> None:
            journal.add(i)

    note = Note.remote()
    note.block.remote()
    for i in range(5):
        note.note.remote(i)
    started.wait()
    del note
    gc.collect()
    door.open()
    wait_until(lambda: len(journal.lines()) == 5)
    assert journal.lines() == ["0", "1", "2", "3", "4"]


def test_unnamed_actor_used_in_one_expression(ray: Ray) -> None:
    assert ray.get(ray.remote(Counter).remote().add.remote()) == 1


def test_actor_outlives_the_task_that_made_it(ray: Ray) -> None:
    @ray.remote
    def make() -> list[Any]:
        counter = ray.remote(Counter).remote()
        ray.get(counter.add.remote())
        return [counter]

    (counter,) = ray.get(make.remote())
    assert ray.get(counter.add.remote()) == 2


def test_results_stay_after_the_actor_is_gone(ray: Ray) -> None:
    @ray.remote
    class Source:
        def large(self) -> bytes:
            return b"r" * 500_000

        def pid(self) -> int:
            return os.getpid()

    source = Source.remote()
    pid, large = ray.get(source.pid.remote()), source.large.remote()
    ray.wait([large])
    del source
    gc.collect()
    wait_until(lambda: process_gone(pid))
    assert len(ray.get(large)) == 500_000


def test_many_tasks_share_a_handle(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    task = ray.remote(lambda handles: ray.get([h.add.remote() for h in handles]))
    counts = ray.get([task.remote([counter] * 5) for _ in range(6)])
    assert sorted(count for task_counts in counts for count in task_counts) == list(range(1, 31))


def test_method_handle_can_be_kept(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    add = counter.add
    assert ray.get([add.remote(), add.remote()]) == [1, 2]


def test_method_of_a_handle_as_argument(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    call = ray.remote(lambda method: ray.get(method.remote()))
    assert ray.get(call.remote(counter.add)) == 1
    assert ray.get(call.remote(counter.add.options(name="named"))) == 2
    assert ray.get(pickle.loads(pickle.dumps(counter.add)).remote()) == 3


def test_programs_note_things_at_a_handle(ray: Ray) -> None:
    counter = ray.remote(Counter).remote()
    counter.rank = 3
    assert (counter.rank, counter) == (3, counter)
    assert ray.get(counter.add.remote()) == 1
    counter.add = "replaced"
    assert counter.add == "replaced"
    copy = pickle.loads(pickle.dumps(counter))
    assert not hasattr(copy, "rank")
    assert ray.get(copy.add.remote()) == 2
    del counter.rank
    assert not hasattr(counter, "rank")


def test_a_handle_lists_what_can_be_called(ray: Ray) -> None:
    @ray.remote
    class Listed:
        def one(self) -> None: ...

        def two(self) -> None: ...

    handle = Listed.remote()
    builtin = {"__init__", "__ray_ready__", "__ray_call__", "__ray_terminate__"}
    assert set(dir(handle)) == {"one", "two", *builtin}
    shown = {name for name in dir(handle.one) if not name.startswith("_")}
    assert shown == {"bind", "options", "remote"}


def test_the_repr_says_where_the_class_is_from(ray: Ray) -> None:
    @ray.remote
    class Inner:
        pass

    handle = Inner.remote()
    where = "test_the_repr_says_where_the_class_is_from.<locals>.Inner"
    assert repr(handle) == f"Actor({where}, {handle._actor_id.hex()})"
    counter = ray.remote(Counter).remote()
    assert repr(counter) == f"Actor(Counter, {counter._actor_id.hex()})"


def test_weak_references_to_a_handle_keep_nothing(ray: Ray) -> None:
    actor = ray.remote(Counter).remote()
    pid = ray.get(actor.pid.remote())
    weak, by_handle = weakref.ref(actor), weakref.WeakKeyDictionary({actor: "noted"})
    assert weak() is actor and by_handle[actor] == "noted"
    assert ray.get(weak().pid.remote()) == pid
    del actor
    gc.collect()
    assert weak() is None and not by_handle
    wait_until(lambda: process_gone(pid))


def test_handles_that_multiply_through_tasks(ray: Ray) -> None:
    """Each task hands its handle to two others, until the tree is deep enough."""

    @ray.remote(num_cpus=0)
    class Sum:
        def __init__(self) -> None:
            self.total = 0

        def add(self, n: int) -> int:
            self.total += n
            return self.total

    @ray.remote(num_cpus=0)
    def branch(handle: Any, depth: int) -> int:
        ray.get(handle.add.remote(1))
        if depth == 0:
            return 1
        children = [branch.remote(handle, depth - 1), branch.remote([handle][0], depth - 1)]
        return 1 + sum(ray.get(children))

    handle = Sum.remote()
    assert ray.get(branch.remote(handle, 3)) == 15
    assert ray.get(handle.add.remote(0)) == 15
