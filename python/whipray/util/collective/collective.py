"""Collective operations of actors and tasks on NumPy arrays and tensors in the CPU's memory.

Each process joins a group under a rank, and all members call the same operations in the same
order.  Tensors are changed in place.
"""

from __future__ import annotations

import threading
import time
from typing import Any, NoReturn

from whipray._private import worker
from whipray.util.collective import store
from whipray.util.collective.types import Backend, ReduceOp

_groups: dict[str, Any] = {}
_lock = threading.Lock()
TWICE = "Trying to initialize a group twice."
_TRIES = 100


# ---- membership ----------------------------------------------------------------------------------


def nccl_available() -> bool:
    """False: there is no backend for GPUs."""
    return False


def gloo_available() -> bool:
    """True: the backend of that name goes through the object store."""
    return True


def is_backend_available(backend: str) -> bool:
    """Whether groups can be made with that backend."""
    return backend.upper() in ("GLOO", "TORCH_GLOO")


def _check_backend(backend: str) -> None:
    if Backend(backend) != Backend.GLOO:
        raise NotImplementedError(
            "collectives over NCCL are not supported; use backend='gloo', which goes through the "
            "shared object store"
        )


def is_group_initialized(group_name: str) -> bool:
    """Whether this process is a member of the group."""
    with _lock:
        return group_name in _groups


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30_000,
) -> None:
    """Join a group of `world_size` ranks as number `rank`.

    `gloo_timeout`: milliseconds after which an operation fails to which other ranks do not come.
    """
    _check_inside_worker()
    _check_backend(backend)
    if not group_name:
        raise ValueError("group_name '{}' needs to be a string.")
    assert world_size > 0, f"world_size must be above 0, not {world_size}"
    assert 0 <= rank < world_size, f"rank must be from 0 to {world_size - 1}, not {rank}"
    with _lock:
        if group_name in _groups:
            raise RuntimeError(TWICE)
        for _ in range(_TRIES):
            actor = store.open_store(group_name, world_size)
            if _join(group_name, actor, world_size, rank, gloo_timeout):
                return
            time.sleep(0.02)
    raise RuntimeError(f"The store of the collective group '{group_name}' ends again and again.")


def _join(name: str, actor: Any, world_size: int, rank: int, timeout_ms: int) -> bool:
    """False: the store is the last formation's, and about to end."""
    from whipray import _core
    from whipray.exceptions import ActorDiedError
    from whipray.util.collective.group import Group

    try:
        formation = _core.get(actor.join.remote(rank, store.own_process()))
    except ActorDiedError:
        return False
    if formation != store.CLOSED:
        _groups[name] = Group(name, actor, formation, world_size, rank, timeout_ms / 1000)
    return bool(formation != store.CLOSED)


_declared: dict[str, Any] = {}
"""Stores of the groups that this driver has declared."""


def create_collective_group(
    actors: list[Any],
    world_size: int,
    ranks: list[int],
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30_000,
) -> None:
    """Declare, from outside, which actors are the members of a group; they join by using it."""
    _check_backend(backend)
    if len(ranks) != len(actors):
        raise RuntimeError(
            f"Each actor should correspond to one rank. Got '{len(ranks)}' ranks but "
            f"'{len(actors)}' actors"
        )
    if set(ranks) != set(range(len(ranks))):
        raise RuntimeError(f"Ranks must be a permutation from 0 to '{len(ranks)}'. Got '{ranks}'.")
    if world_size <= 0:
        raise RuntimeError(f"World size must be greater than zero. Got '{world_size}'.")
    if len(ranks) > world_size:
        raise RuntimeError(f"Ranks must be smaller than world_size. Got '{ranks}'.")
    worker.ensure_attached()
    if store.find(group_name) is not None:
        raise RuntimeError(TWICE)
    members = {actor._actor_id.hex(): rank for actor, rank in zip(actors, ranks, strict=True)}
    _declared[group_name] = store.declare(group_name, world_size, members)


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave the group; once all members have, its name is free."""
    if not worker.state.is_worker and group_name in _declared:
        from whipray._private import api

        api.kill(_declared.pop(group_name))
        return
    _check_inside_worker()
    with _lock:
        group = _groups.pop(group_name, None)
    if group is not None:
        group.leave()


def get_rank(group_name: str = "default") -> int:
    """The rank of this process; -1 if it is no member."""
    _check_inside_worker()
    with _lock:
        return _groups[group_name].rank if group_name in _groups else -1


def get_collective_group_size(group_name: str = "default") -> int:
    """The number of ranks; -1 if this process is no member."""
    _check_inside_worker()
    with _lock:
        return _groups[group_name].world_size if group_name in _groups else -1


def get_group_handle(group_name: str = "default") -> Any:
    """The membership of this process, which is made now if the driver has declared it."""
    _check_inside_worker()
    with _lock:
        if group_name not in _groups:
            _join_declared(group_name)
        return _groups[group_name]


def _join_declared(group_name: str) -> None:
    from whipray import _core
    from whipray.runtime_context import get_runtime_context

    actor = store.find(group_name)
    own_id = get_runtime_context().get_actor_id()
    found = None if actor is None else _core.get(actor.declared.remote(own_id or ""))
    if found is None:
        raise RuntimeError(
            f"The collective group '{group_name}' is not initialized in the process."
        )
    world_size, rank = found
    if not _join(group_name, actor, world_size, rank, 30_000):
        raise RuntimeError(f"The collective group '{group_name}' has just ended.")


def _check_inside_worker() -> None:
    if not worker.state.is_worker:
        raise RuntimeError("The collective APIs shall be only used inside a Ray actor or task.")


# ---- operations ----------------------------------------------------------------------------------


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Make the tensor what those of all ranks reduce to, at every rank."""
    _check_tensor(tensor)
    get_group_handle(group_name).allreduce(tensor, op)


def barrier(group_name: str = "default") -> None:
    """Wait until all ranks are here."""
    get_group_handle(group_name).barrier()


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Make the tensor what those of all ranks reduce to, at one rank."""
    _check_tensor(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, dst_rank)
    group.reduce(tensor, dst_rank, op)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Make the tensor that of rank `src_rank`, at every rank."""
    _check_tensor(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, src_rank)
    group.broadcast(tensor, src_rank)


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Fill the list with the tensors of all ranks, at every rank."""
    _check_tensor(tensor)
    _check_list(tensor_list)
    group = get_group_handle(group_name)
    _check_length(group, tensor_list)
    group.allgather(tensor_list, tensor)


def reducescatter(
    tensor: Any,
    tensor_list: list[Any],
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Reduce the lists of all ranks item by item; each rank gets the item of its number."""
    _check_tensor(tensor)
    _check_list(tensor_list)
    group = get_group_handle(group_name)
    _check_length(group, tensor_list)
    group.reducescatter(tensor, tensor_list, op)


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send the tensor to another rank, which receives it by `recv`."""
    _check_tensor(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, dst_rank)
    if dst_rank == group.rank:
        raise RuntimeError(f"The destination rank '{dst_rank}' is self.")
    group.send(tensor, dst_rank)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Make the tensor the next one that another rank has sent to this one."""
    _check_tensor(tensor)
    group = get_group_handle(group_name)
    _check_rank(group, src_rank)
    if src_rank == group.rank:
        raise RuntimeError(f"The destination rank '{src_rank}' is self.")
    group.recv(tensor, src_rank)


def _needs_gpus(*args: Any, **kwargs: Any) -> NoReturn:
    """Needs NCCL and several GPUs."""
    raise RuntimeError("Multigpu calls requires NCCL and Cupy.")


allreduce_multigpu = reduce_multigpu = broadcast_multigpu = allgather_multigpu = _needs_gpus
reducescatter_multigpu = send_multigpu = recv_multigpu = synchronize = _needs_gpus


def _check_tensor(tensor: Any) -> None:
    import sys

    import numpy as np

    torch = sys.modules.get("torch")
    if isinstance(tensor, np.ndarray) or (torch is not None and isinstance(tensor, torch.Tensor)):
        return
    raise RuntimeError(
        f"Unrecognized tensor type '{type(tensor)}'. Supported types are: np.ndarray, torch.Tensor."
    )


def _check_list(tensors: Any) -> None:
    if not isinstance(tensors, list):
        raise RuntimeError(f"The input must be a list of tensors. Got '{type(tensors)}'.")
    if not tensors:
        raise RuntimeError("Got an empty list of tensors.")
    for tensor in tensors:
        _check_tensor(tensor)


def _check_length(group: Any, tensors: list[Any]) -> None:
    if len(tensors) != group.world_size:
        raise RuntimeError(
            "The length of the tensor list operands must be equal to the number of ranks, "
            f"{group.world_size}, not {len(tensors)}."
        )


def _check_rank(group: Any, rank: int) -> None:
    if rank < 0:
        raise ValueError(f"rank '{rank}' is negative.")
    if rank >= group.world_size:
        raise ValueError(f"rank '{rank}' must be less than world size '{group.world_size}'")
