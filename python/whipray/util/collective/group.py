"""One process's membership in a group, and the operations on arrays.

Every operation is a meeting: each member puts its array into the object store, all get the
references of all, and each reads what it needs of the others' arrays where they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whipray import _core
from whipray._private import api
from whipray.exceptions import GetTimeoutError
from whipray.util.collective.types import ReduceOp

_UFUNCS = {
    ReduceOp.SUM: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}
LARGE = 1 << 20
"""Bytes from which an allreduce is split: each rank reduces a part, and all collect the parts."""


def array_of(tensor: Any) -> Any:
    """The NumPy array that shares memory with a tensor: changes of one are changes of the other."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if getattr(tensor, "is_cuda", False):
        raise NotImplementedError("tensors on GPUs are not supported by collectives")
    return tensor.detach().numpy()


class Group:
    """A rank of a group."""

    def __init__(
        self,
        name: str,
        store: Any,
        formation: int,
        world_size: int,
        rank: int,
        timeout: float,
    ) -> None:
        self.name = name
        self.store = store
        self.formation = formation
        self.world_size = world_size
        self.rank = rank
        self._timeout = timeout
        self._number = 0

    def _wait(self, answer: Any, doing: str) -> Any:
        try:
            found = _core.get(answer, timeout=self._timeout)
        except GetTimeoutError:
            raise RuntimeError(
                f"{doing} in group {self.name!r}: the other ranks did not come within "
                f"{self._timeout} s"
            ) from None
        if isinstance(found, str) and found:
            raise RuntimeError(
                f"{doing} in group {self.name!r}: {found}; to go on, all ranks have to call "
                "destroy_collective_group() and init_collective_group()"
            )
        return found

    def _ask(self, doing: str, method: str, *args: Any) -> Any:
        answer = getattr(self.store, method).remote(self.formation, *args)
        return self._wait(answer, doing)

    def _meet(self, doing: str, *arrays: Any) -> list[list[Any]]:
        """References to what each rank brought, by rank; the caller has put `arrays`."""
        refs = [_core.put(array) for array in arrays]
        number, self._number = self._number, self._number + 1
        found: list[list[Any]] = self._ask(doing, "meet", number, self.rank, refs)
        return found

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._meet("barrier")

    def allreduce(self, tensor: Any, op: ReduceOp) -> None:
        """The reduced tensors of all ranks, at every rank."""
        array = array_of(tensor)
        if array.nbytes < LARGE or self.world_size == 1:
            brought = self._meet("allreduce", array)
            array[...] = _reduced([refs[0] for refs in brought], op)
            return
        parts = np.array_split(array.reshape(-1), self.world_size)
        mine = [refs[self.rank] for refs in self._meet("allreduce", *parts)]
        gathered = self._meet("allreduce", _reduced(mine, op))
        values = _core.get([refs[0] for refs in gathered])
        array[...] = np.concatenate(values).reshape(array.shape)

    def reduce(self, tensor: Any, target: int, op: ReduceOp) -> None:
        """The reduced tensors of all ranks, at rank `target`; the others keep theirs."""
        array = array_of(tensor)
        brought = self._meet("reduce", array)
        if self.rank == target:
            array[...] = _reduced([refs[0] for refs in brought], op)

    def broadcast(self, tensor: Any, source: int) -> None:
        """The tensor of rank `source`, at every rank."""
        array = array_of(tensor)
        brought = self._meet("broadcast", *([array] if self.rank == source else []))
        if self.rank != source:
            array[...] = _core.get(brought[source][0])

    def allgather(self, tensors: list[Any], tensor: Any) -> None:
        """The tensor of each rank in `tensors`, at every rank."""
        brought = self._meet("allgather", array_of(tensor))
        for target, refs in zip(tensors, brought, strict=True):
            array_of(target)[...] = _core.get(refs[0])

    def reducescatter(self, tensor: Any, tensors: list[Any], op: ReduceOp) -> None:
        """Of the lists of all ranks, the reduced tensors at the place of this rank."""
        brought = self._meet("reducescatter", *map(array_of, tensors))
        array_of(tensor)[...] = _reduced([refs[self.rank] for refs in brought], op)

    def send(self, tensor: Any, target: int) -> None:
        """Leave the tensor for rank `target`; does not wait until it is received."""
        refs = [_core.put(array_of(tensor))]
        self._ask("send", "send", self.rank, target, refs)

    def recv(self, tensor: Any, source: int) -> None:
        """The next tensor that rank `source` has sent to this one."""
        refs = self._ask("recv", "receive", source, self.rank)
        array_of(tensor)[...] = _core.get(refs[0])

    def leave(self) -> None:
        """Have done with the group; the last member ends the store."""
        if self._ask("leaving", "leave", self.rank):
            api.kill(self.store)


def _reduced(refs: list[Any], op: ReduceOp) -> Any:
    """The arrays as one.  References arrive by rank, so that all ranks round alike."""
    values = _core.get(refs)
    total = np.array(values[0])
    for value in values[1:]:
        _UFUNCS[op](total, value, out=total)
    return total
