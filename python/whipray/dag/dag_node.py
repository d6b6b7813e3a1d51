"""What all nodes of a graph have in common: their arguments, and how a graph is run."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from whipray.dag import scan

if TYPE_CHECKING:
    from whipray.dag.compiled_dag_node import CompiledDAG

_numbers = itertools.count()
T = TypeVar("T")
Self = TypeVar("Self", bound="DAGNode")


class DAGNode:
    """A task, actor, call, input or output of a graph.

    Arguments may be nodes or hold nodes at any depth.  A node is never changed: running a graph
    makes copies with values in the places of nodes.  What else a node depends on, such as the actor
    of a call, stands in `other_args_to_resolve`.
    """

    def __init__(
        self,
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        other_args_to_resolve: dict[str, Any] | None = None,
    ) -> None:
        self._bound_args: Any = args or []
        self._bound_kwargs = kwargs or {}
        self._bound_options = options or {}
        self._bound_other_args_to_resolve = other_args_to_resolve or {}
        self._stable_uuid = uuid.uuid4().hex
        self._order = next(_numbers)
        self._compiled = False
        self.cache_from_last_execute: dict[str, Any] = {}

    # -- what was bound --

    def get_args(self) -> Any:
        """Positional arguments."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return dict(self._bound_kwargs)

    def get_options(self) -> dict[str, Any]:
        """Options of the function, class or method."""
        return dict(self._bound_options)

    def get_other_args_to_resolve(self) -> dict[str, Any]:
        """What the node depends on besides its arguments."""
        return dict(self._bound_other_args_to_resolve)

    def get_stable_uuid(self) -> str:
        """An id that copies of the node share."""
        return self._stable_uuid

    def _bound(self) -> list[Any]:
        return [self._bound_args, self._bound_kwargs, self._bound_other_args_to_resolve]

    def _get_toplevel_child_nodes(self) -> list[DAGNode]:
        """The nodes that are arguments themselves, each once."""
        values = [
            *self._bound_args,
            *self._bound_kwargs.values(),
            *self._bound_other_args_to_resolve.values(),
        ]
        return list({id(node): node for node in values if isinstance(node, DAGNode)}.values())

    def _get_all_child_nodes(self) -> list[DAGNode]:
        """The nodes that are arguments or stand in arguments, each once."""
        return scan.find(self._bound(), DAGNode)

    # -- running --

    def execute(self, *args: Any, _ray_cache_refs: bool = False, **kwargs: Any) -> Any:
        """Submit the tasks and calls of the graph; the reference, or list of them, of this node.

        The arguments are what the InputNode stands for.  Each node runs once, also when several
        depend on it.
        """
        cache: dict[str, Any] = {}
        result = self._walk(lambda node: node._execute_impl(*args, **kwargs), cache)
        if _ray_cache_refs:
            self.cache_from_last_execute = cache
        return result

    def apply_recursive(self, fn: Callable[[Any], T]) -> T:
        """fn of this node, where in its place every node below has given way to fn of it."""
        result: T = self._walk(fn, {})
        return result

    def _walk(self, fn: Callable[[Any], Any], results: dict[str, Any]) -> Any:
        for node in self._in_order():
            results[node._stable_uuid] = fn(
                node._with(*scan.replace(node._bound(), DAGNode, lambda n: results[n._stable_uuid]))
            )
        return results[self._stable_uuid]

    def _in_order(self) -> list[DAGNode]:
        """This node and those it depends on, each once, dependencies first."""
        done: dict[str, DAGNode] = {}
        entered: set[str] = set()
        stack: list[DAGNode] = [self]
        while stack:
            node = stack[-1]
            if node._stable_uuid in done:
                stack.pop()
            elif node._stable_uuid in entered:
                done[node._stable_uuid] = stack.pop()
            else:
                entered.add(node._stable_uuid)
                children = node._get_all_child_nodes()
                stack.extend(n for n in reversed(children) if n._stable_uuid not in entered)
        nodes = list(done.values())
        if len([node for node in nodes if node._is_input]) > 1:
            raise AssertionError("Each DAG should only have one unique InputNode.")
        return nodes

    _is_input = False

    def _apply_and_replace_all_child_nodes(self: Self, fn: Callable[[DAGNode], Any]) -> Self:
        """A copy with fn of each child node in its place; fn is called once for each."""
        new = {id(child): fn(child) for child in self._get_all_child_nodes()}
        return self._with(*scan.replace(self._bound(), DAGNode, lambda node: new[id(node)]))

    @staticmethod
    def apply_functional(
        source_input_list: Any, predicate_fn: Callable[[Any], bool], apply_fn: Callable[[Any], Any]
    ) -> Any:
        """`source_input_list` with apply_fn(node) for the nodes that fulfil the predicate."""
        return scan.replace(
            source_input_list, DAGNode, lambda node: apply_fn(node) if predicate_fn(node) else node
        )

    def _with(self: Self, args: Any, kwargs: dict[str, Any], others: dict[str, Any]) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._bound_args, copy._bound_kwargs = args, kwargs
        copy._bound_other_args_to_resolve = others
        return copy

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        """Run this node, whose arguments are values by now; given are those of execute()."""
        raise NotImplementedError

    async def get_object_refs_from_last_execute(self) -> dict[str, Any]:
        """What each node gave in the last execute(_ray_cache_refs=True), by the node's id."""
        return dict(self.cache_from_last_execute)

    def clear_cache(self) -> None:
        """Let go of what the last execute() gave."""
        self.cache_from_last_execute = {}

    def experimental_compile(
        self,
        _submit_timeout: float | None = None,
        _buffer_size_bytes: int | None = None,
        enable_asyncio: bool = False,
        _max_inflight_executions: int | None = None,
        _max_buffered_results: int | None = None,
        _overlap_gpu_communication: bool | None = None,
        _default_communicator: Any = "create",
    ) -> CompiledDAG:
        """A graph of calls on living actors that is checked once and run many times."""
        from whipray.dag.compiled_dag_node import compile_graph

        return compile_graph(self, enable_asyncio, _max_inflight_executions)

    def with_tensor_transport(self: Self, transport: Any = "auto", device: str = "default") -> Self:
        """Accepted for transports that mean shared memory; others need GPUs."""
        if transport not in ("auto", "shm") or device not in ("default", "cpu"):
            raise NotImplementedError(
                f"with_tensor_transport({transport!r}, device={device!r}): tensors travel through "
                "shared memory only"
            )
        return self

    # -- how it looks --

    def _body_text(self) -> str:
        return "?"

    def __str__(self) -> str:
        return (
            f"({type(self).__name__}, {self._stable_uuid})(\n"
            f"    body={self._body_text()}\n"
            f"    args={_shown(self._bound_args)}\n"
            f"    kwargs={_shown(self._bound_kwargs)}\n"
            f"    options={self._bound_options}\n"
            f"    other_args_to_resolve={_shown(self._bound_other_args_to_resolve)}\n"
            ")"
        )

    def __getattr__(self, name: str) -> Any:
        if name == "bind":
            raise AttributeError(f".bind() cannot be used again on {type(self)} ")
        if name == "remote":
            raise AttributeError(
                f".remote() cannot be used on {type(self)}. To execute the task graph for this "
                "node, use .execute()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _shown(value: Any) -> str:
    """`value` with nodes as short names, so that a graph prints in linear size."""
    short = scan.replace(value, DAGNode, _Short)
    return str(list(short) if isinstance(short, tuple) else short)


class _Short:
    def __init__(self, node: DAGNode) -> None:
        self._text = f"({type(node).__name__}, {node._stable_uuid})"

    def __repr__(self) -> str:
        return self._text
