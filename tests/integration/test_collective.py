"""Collective operations over the object store."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest

import whipray as ray
from tests.compat.helpers import wait_until
from whipray.util import collective as col
from whipray.util.collective import types
from whipray.util.collective.types import Backend, ReduceOp

SIZES = [3, 100, 300_001]
"""Elements of 8 bytes: small ones, and one that is split."""


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.init(num_cpus=2, log_to_driver=False)
    yield True
    ray.shutdown()


@ray.remote(num_cpus=0)
class Member:
    def join(self, size, rank, name="default", **more):
        col.init_collective_group(size, rank, "gloo", name, **more)
        return col.get_rank(name), col.get_collective_group_size(name)

    def run(self, operation, *args, **kwargs):
        """Call an operation; what became of its first argument, of which it gets a copy."""
        args = copy.deepcopy(args)
        getattr(col, operation)(*args, **kwargs)
        return args[0] if args else None

    def own(self, operation, shape, *args, **kwargs):
        """`run` with an array of this process, filled with its rank plus one."""
        return self.run(operation, np.full(shape, float(col.get_rank() + 1)), *args, **kwargs)

    def ask(self, question, *args):
        return getattr(col, question)(*args)


@pytest.fixture(scope="module")
def members(session):
    found = [Member.remote() for _ in range(3)]
    assert ray.get([m.join.remote(3, i) for i, m in enumerate(found)]) == [
        (0, 3),
        (1, 3),
        (2, 3),
    ]
    yield found
    ray.get([m.ask.remote("destroy_collective_group") for m in found])
    wait_until(lambda: not ray.util.list_named_actors(all_namespaces=True))


def all_do(members, method, *args, **kwargs):
    return ray.get([getattr(member, method).remote(*args, **kwargs) for member in members])


@pytest.mark.parametrize("size", SIZES)
def test_allreduce(members, size):
    for found in all_do(members, "own", "allreduce", size):
        assert np.array_equal(found, np.full(size, 6.0))


@pytest.mark.parametrize("op, result", [("SUM", 6), ("PRODUCT", 6), ("MIN", 1), ("MAX", 3)])
def test_operations(members, op, result):
    for found in all_do(members, "own", "allreduce", (2, 2), op=ReduceOp[op]):
        assert np.array_equal(found, np.full((2, 2), float(result)))


def test_reduce(members):
    found = all_do(members, "own", "reduce", 4, 1)
    assert [value[0] for value in found] == [1, 6, 3]


@pytest.mark.parametrize("size", SIZES)
def test_broadcast(members, size):
    for found in all_do(members, "own", "broadcast", size, 2):
        assert np.array_equal(found, np.full(size, 3.0))


def test_allgather(members):
    targets = [np.zeros(2) for _ in members]
    sources = [np.full(2, float(i)) for i in range(3)]
    refs = [m.run.remote("allgather", targets, s) for m, s in zip(members, sources, strict=True)]
    for found in ray.get(refs):
        assert [list(value) for value in found] == [[0, 0], [1, 1], [2, 2]]


def test_reducescatter(members):
    refs = [
        m.run.remote("reducescatter", np.zeros(2), [np.full(2, float(i + k)) for k in range(3)])
        for i, m in enumerate(members)
    ]
    assert [list(value) for value in ray.get(refs)] == [[3, 3], [6, 6], [9, 9]]


def test_send_and_recv_keep_the_order(members):
    first, second, _ = members
    sent = [first.run.remote("send", np.full(2, float(i)), 1) for i in range(5)]
    got = [second.run.remote("recv", np.zeros(2), 0) for _ in range(5)]
    ray.get(sent)
    assert [value[0] for value in ray.get(got)] == [0, 1, 2, 3, 4]


def test_barrier(members):
    waiting = [member.run.remote("barrier") for member in members[:2]]
    assert ray.wait(waiting, num_returns=2, timeout=0.1)[0] == []
    ray.get([*waiting, members[2].run.remote("barrier")])


def test_arrays_of_other_types_and_shapes(members):
    def integers(self):
        array = np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2]
        col.allreduce(array)
        return array

    for found in ray.get([m.__ray_call__.remote(integers) for m in members]):
        assert found.dtype == np.int32
        assert found.tolist() == [[0, 6], [9, 15]]


def test_many_operations_in_a_row(members):
    def work(self):
        array = np.zeros(8)
        for i in range(50):
            array[:] = i
            col.allreduce(array)
            assert array[0] == 3 * i
        return True

    assert all(ray.get([m.__ray_call__.remote(work) for m in members]))


def test_a_group_of_one(members):
    member = members[0]
    ray.get(member.join.remote(1, 0, "alone"))
    assert ray.get(member.run.remote("allreduce", np.ones(300_000), "alone"))[0] == 1
    ray.get(member.run.remote("barrier", "alone"))
    ray.get(member.ask.remote("destroy_collective_group", "alone"))


def test_wrong_arguments(members):
    member = members[0]
    for rank in (-1, 3):
        with pytest.raises(ValueError, match="rank"):
            ray.get(member.own.remote("broadcast", 2, rank))
    with pytest.raises(RuntimeError, match="self"):
        ray.get(member.own.remote("send", 2, 0))
    with pytest.raises(RuntimeError, match="tensor type"):
        ray.get(member.run.remote("allreduce", [1, 2]))
    with pytest.raises(RuntimeError, match="list"):
        ray.get(member.run.remote("allgather", [np.zeros(1)], np.zeros(1)))
    with pytest.raises(RuntimeError, match="twice"):
        ray.get(member.join.remote(3, 0))
    with pytest.raises(RuntimeError, match="not initialized"):
        ray.get(member.run.remote("barrier", "another"))


def test_only_in_workers():
    with pytest.raises(RuntimeError, match="inside a Ray actor or task"):
        col.init_collective_group(2, 0, "gloo")
    with pytest.raises(RuntimeError, match="inside a Ray actor or task"):
        col.allreduce(np.zeros(1))


def test_backends():
    assert col.gloo_available() and not col.nccl_available()
    assert Backend("gloo") == Backend.GLOO == Backend("torch_gloo")
    with pytest.raises(ValueError, match="Unrecognized backend"):
        Backend("mpi")
    with pytest.raises(NotImplementedError, match="NCCL"):
        ray.get(Member.remote().ask.remote("init_collective_group", 1, 0))


def test_a_group_can_be_made_again(members):
    all_do(members, "ask", "destroy_collective_group")
    assert all_do(members, "ask", "get_rank") == [-1, -1, -1]
    assert all_do(members, "ask", "is_group_initialized", "default") == [False] * 3
    wait_until(lambda: not ray.util.list_named_actors(all_namespaces=True))
    ray.get([m.join.remote(3, i) for i, m in enumerate(members)])
    assert all_do(members, "own", "allreduce", 1)[0][0] == 6


def test_several_groups(members):
    ray.get([m.join.remote(2, i, "pair") for i, m in enumerate(members[1:])])
    refs = [m.run.remote("allreduce", np.ones(2), "pair") for m in members[1:]]
    assert [value[0] for value in ray.get(refs)] == [2, 2]
    ray.get([m.ask.remote("destroy_collective_group", "pair") for m in members[1:]])


def test_a_missing_rank_ends_the_waiting():
    member = Member.remote()
    ray.get(member.join.remote(2, 0, "short", gloo_timeout=200))
    with pytest.raises(RuntimeError, match="did not come"):
        ray.get(member.run.remote("allreduce", np.ones(1), "short"))
    ray.kill(ray.get_actor("short", "_whipray_collective"))


def test_a_group_declared_by_the_driver():
    members = [Member.remote() for _ in range(2)]
    with pytest.raises(RuntimeError, match="one rank"):
        col.create_collective_group(members, 2, [0], "gloo", "declared")
    with pytest.raises(RuntimeError, match="permutation"):
        col.create_collective_group(members, 2, [0, 2], "gloo", "declared")
    col.create_collective_group(members, 2, [1, 0], "gloo", "declared")
    with pytest.raises(RuntimeError, match="twice"):
        col.create_collective_group(members, 2, [1, 0], "gloo", "declared")
    refs = [m.run.remote("allreduce", np.ones(2), "declared") for m in members]
    assert [value[0] for value in ray.get(refs)] == [2, 2]
    assert ray.get([m.ask.remote("get_rank", "declared") for m in members]) == [1, 0]
    col.destroy_collective_group("declared")


def test_tasks_can_take_part():
    @ray.remote(num_cpus=0)
    def task(rank):
        col.init_collective_group(2, rank, "gloo", "tasks")
        array = np.full(3, rank + 1.0)
        col.allreduce(array, "tasks")
        col.destroy_collective_group("tasks")
        return array[0], os.getpid()

    found = ray.get([task.remote(rank) for rank in range(2)])
    assert [value for value, _ in found] == [3, 3] and found[0][1] != found[1][1]


def test_options_of_operations_begin_as_those_of_ray() -> None:
    assert types.AllReduceOptions().reduceOp is ReduceOp.SUM
    assert types.SendOptions(dst_rank=2).dst_rank == 2 and types.RecvOptions().src_rank == 0
    for name in (
        "AllGather",
        "AllReduce",
        "Barrier",
        "Broadcast",
        "Reduce",
        "ReduceScatter",
        "Send",
    ):
        made = getattr(types, f"{name}Options")()
        assert made.timeout_ms == types.unset_timeout_ms


# ---- members that die ----------------------------------------------------------------------------


def stores(name):
    found = ray.util.list_named_actors(all_namespaces=True)
    return [row for row in found if row["name"] == name]


def test_who_waits_for_a_dead_rank_is_told_at_once():
    members = [Member.remote() for _ in range(3)]
    ray.get([m.join.remote(3, i, "mortal") for i, m in enumerate(members)])
    waiting = [m.run.remote("allreduce", np.ones(2), "mortal") for m in members[:1]]
    waiting.append(members[1].run.remote("recv", np.ones(2), 2, "mortal"))
    assert ray.wait(waiting, timeout=0.2)[0] == []
    ray.kill(members[2])
    for ref in waiting:  # far from the time that they would wait for a living one
        with pytest.raises(RuntimeError, match=r"rank 2 has ended.*init_collective_group"):
            ray.get(ref, timeout=20)
    with pytest.raises(RuntimeError, match="rank 2 has ended"):
        ray.get(members[0].run.remote("barrier", "mortal"))
    ray.get([m.ask.remote("destroy_collective_group", "mortal") for m in members[:2]])
    wait_until(lambda: not stores("mortal"))


def test_nothing_is_left_of_the_operations_of_the_dead():
    """The one who died had brought something: whoever comes next must not get it."""
    first, second = Member.remote(), Member.remote()
    ray.get([first.join.remote(2, 0, "reborn"), second.join.remote(2, 1, "reborn")])
    dying = first.run.remote("allreduce", np.full(2, 100.0), "reborn")
    first.run.remote("send", np.full(2, 100.0), 1, "reborn")
    assert ray.wait([dying], timeout=0.3)[0] == []
    ray.kill(first)
    with pytest.raises(RuntimeError, match=r"rank 0 has ended|joined again"):
        ray.get(second.run.remote("recv", np.zeros(2), 0, "reborn"))
    first = Member.remote()
    ray.get(second.ask.remote("destroy_collective_group", "reborn"))
    ray.get([first.join.remote(2, 0, "reborn"), second.join.remote(2, 1, "reborn")])
    refs = [m.run.remote("allreduce", np.ones(2), "reborn") for m in (first, second)]
    assert [list(value) for value in ray.get(refs)] == [[2, 2], [2, 2]]
    refs = [
        first.run.remote("send", np.full(2, 5.0), 1, "reborn"),
        second.run.remote("recv", np.zeros(2), 0, "reborn"),
    ]
    assert list(ray.get(refs)[1]) == [5, 5]
    ray.get([m.ask.remote("destroy_collective_group", "reborn") for m in (first, second)])
    wait_until(lambda: not stores("reborn"))


def test_a_store_does_not_outlive_its_members():
    members = [Member.remote() for _ in range(2)]
    ray.get([m.join.remote(2, i, "gone") for i, m in enumerate(members)])
    alone = Member.remote()
    ray.get(alone.join.remote(2, 0, "never complete"))
    assert stores("gone") and stores("never complete")
    for member in [*members, alone]:
        ray.kill(member)
    wait_until(lambda: not stores("gone") and not stores("never complete"))


def test_a_group_is_left_and_joined_again_at_once():
    members = [Member.remote() for _ in range(2)]

    def again(self, rank):
        total = 0
        for k in range(10):
            col.init_collective_group(2, rank, "gloo", "again")
            array = np.full(1, float(k))
            col.allreduce(array, "again")
            total += array[0]
            col.destroy_collective_group("again")
        return total

    assert ray.get([m.__ray_call__.remote(again, i) for i, m in enumerate(members)]) == [90, 90]
    wait_until(lambda: not stores("again"))
