"""Graphs of calls on living actors that are checked once and run many times.

A compiled graph is a flat list of calls in the order in which they were bound.  To run it is to
submit these calls: actors already read their arguments from, and write their results to, memory
that all processes share, so there are no channels to set up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NoReturn

from whipray import _core
from whipray._private import api
from whipray.dag import scan
from whipray.dag.class_node import ClassMethodNode, ClassNode
from whipray.dag.dag_node import DAGNode
from whipray.dag.function_node import FunctionNode
from whipray.dag.input_node import InputAttributeNode, InputNode
from whipray.dag.output_node import MultiOutputNode


def compile_graph(root: DAGNode, enable_asyncio: bool, most_in_flight: int | None) -> CompiledDAG:
    """Check the graph below `root`; ValueError or NotImplementedError for what can not be."""
    if root._compiled:
        raise ValueError(
            "It is not allowed to call `experimental_compile` on the same DAG object multiple "
            "times, also after `teardown`. Use the existing compiled DAG or create a new one."
        )
    nodes = sorted(root._in_order(), key=lambda node: node._order)
    for node in nodes:
        _check(node)
    inputs = [node for node in nodes if isinstance(node, InputNode)]
    if not inputs:
        raise ValueError(f"No InputNode found in the DAG: nothing was found above {root}.")
    _check_inputs(nodes, inputs[0])
    root._compiled = True
    return CompiledDAG(root, nodes, enable_asyncio, most_in_flight)


def _check(node: DAGNode) -> None:
    if isinstance(node, FunctionNode):
        raise NotImplementedError("Compiled DAGs currently only support actor method nodes")
    if isinstance(node, ClassNode):
        raise ValueError(
            "Compiled DAGs can only bind methods to an actor that is already created with "
            "Actor.remote()"
        )
    if not isinstance(node, ClassMethodNode | InputNode | InputAttributeNode | MultiOutputNode):
        raise ValueError(f"Found unsupported node of type {type(node)}")
    for value in node._bound_kwargs.values():
        if scan.find(value, DAGNode):
            raise ValueError(
                "Compiled DAG currently does not support binding to other DAG nodes as kwargs"
            )
    for arg in node._bound_args:
        if not isinstance(arg, DAGNode) and (nested := scan.find(arg, DAGNode)):
            raise ValueError(
                f"Found {len(nested)} DAGNodes from the arg {arg} in {node}: an argument is a "
                "single DAGNode or has none inside."
            )


def _check_inputs(nodes: list[DAGNode], given: InputNode) -> None:
    direct = any(given is arg for node in nodes for arg in node._bound_args)
    used = {node.key for node in nodes if isinstance(node, InputAttributeNode)}
    if direct and used:
        raise ValueError(
            "All tasks must either use InputNode() directly, or they must index to specific args "
            "or kwargs."
        )
    unused = set(given.input_attribute_nodes) - used
    if unused:
        raise ValueError(
            f"{', '.join(map(str, unused))} {'is' if len(unused) == 1 else 'are'} unused: all "
            "attributes of the InputNode must contribute to the output of a compiled graph."
        )


class CompiledDAG:
    """What `experimental_compile` returns."""

    def __init__(
        self,
        root: DAGNode,
        nodes: list[DAGNode],
        enable_asyncio: bool,
        most_in_flight: int | None,
    ) -> None:
        self._root = root
        self._steps = [node for node in nodes if not node._is_input]
        keys = {node.key for node in nodes if isinstance(node, InputAttributeNode)}
        places = [key for key in keys if isinstance(key, int)]
        self._num_args = max(places) + 1 if places else 0 if keys else 1
        self._kwargs = [key for key in keys if isinstance(key, str)]
        self._input = next(node for node in nodes if node._is_input)
        self._asyncio = enable_asyncio
        self._most = most_in_flight
        self._executions = 0
        self._in_flight: set[int] = set()
        self.is_teardown = False

    def get_id(self) -> str:
        """An id of the graph."""
        return self._root.get_stable_uuid()

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph: a CompiledDAGRef, or a list of them if it ends in a MultiOutputNode."""
        if self._asyncio:
            raise ValueError("Use execute_async if enable_asyncio=True")
        return self._run(args, kwargs, CompiledDAGRef)

    async def execute_async(self, *args: Any, **kwargs: Any) -> Any:
        """`execute` for graphs that were compiled with enable_asyncio=True."""
        if not self._asyncio:
            raise ValueError("Use execute if enable_asyncio=False")
        return self._run(args, kwargs, CompiledDAGFuture)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], kind: Callable[..., Any]) -> Any:
        self._check_given(args, kwargs)
        values: dict[str, Any] = {self._input._stable_uuid: self._input.execute(*args, **kwargs)}
        for node in self._steps:
            bound = scan.replace(node._bound(), DAGNode, lambda n: values[n._stable_uuid])
            values[node._stable_uuid] = node._with(*bound)._execute_impl()
        number, self._executions = self._executions, self._executions + 1
        self._in_flight.add(number)
        result = values[self._root._stable_uuid]
        if isinstance(result, list):
            return [kind(self, number, ref, channel) for channel, ref in enumerate(result)]
        return kind(self, number, result, None)

    def _check_given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.is_teardown:
            from whipray.exceptions import RayChannelError

            raise RayChannelError("Channel closed: the compiled graph has been torn down.")
        if len(args) != self._num_args:
            raise ValueError(
                "dag.execute() or dag.execute_async() must be called with "
                f"{self._num_args} positional args, got {len(args)}"
            )
        for key in self._kwargs:
            if key not in kwargs:
                raise ValueError(
                    f"dag.execute() or dag.execute_async() must be called with kwarg `{key}`"
                )
        if self._most is not None and len(self._in_flight) >= self._most:
            from whipray.exceptions import RayCgraphCapacityExceeded

            raise RayCgraphCapacityExceeded(
                f"The compiled graph can't have more than {self._most} in-flight executions, and "
                f"you currently have {len(self._in_flight)} in-flight executions. Retrieve an "
                "output using ray.get before submitting more requests or increase "
                "`_max_inflight_executions`."
            )

    def teardown(self, kill_actors: bool = False) -> None:
        """Take no more executions; with kill_actors, end the actors of the graph."""
        if self.is_teardown:
            return
        self.is_teardown = True
        if kill_actors:
            calls = [node for node in self._steps if isinstance(node, ClassMethodNode)]
            for handle in {node._get_actor_handle() for node in calls}:
                api.kill(handle)


class _Result:
    """One result of one execution; can be fetched once."""

    def __init__(
        self, dag: CompiledDAG, number: int, ref: _core.ObjectRef[Any], channel: int | None
    ) -> None:
        self._dag = dag
        self._number = number
        self._channel = channel
        self._ref: _core.ObjectRef[Any] | None = ref

    def _take(self) -> _core.ObjectRef[Any]:
        ref, self._ref = self._ref, None
        if ref is None:
            raise ValueError(self._again())
        self._dag._in_flight.discard(self._number)
        return ref

    def _again(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}({self._dag.get_id()}, execution_index={self._number}, "
            f"channel_index={self._channel})"
        )

    def __copy__(self) -> NoReturn:
        raise ValueError(f"{type(self).__name__} cannot be copied.")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        raise ValueError(f"{type(self).__name__} cannot be deep copied.")

    def __reduce__(self) -> NoReturn:
        raise ValueError(f"{type(self).__name__} cannot be pickled.")

    def __del__(self) -> None:
        self._dag._in_flight.discard(self._number)


class CompiledDAGRef(_Result):
    """Result of CompiledDAG.execute(), for get()."""

    def _again(self) -> str:
        return "ray.get() can only be called once on a CompiledDAGRef, and it was already called."

    def get(self, timeout: float | None = None) -> Any:
        """The value; RayChannelTimeoutError if it is not there within `timeout` seconds."""
        from whipray.exceptions import GetTimeoutError, RayChannelTimeoutError

        try:
            return _core.get(self._take(), timeout=None if timeout == -1 else timeout)
        except GetTimeoutError as error:
            raise RayChannelTimeoutError(str(error)) from None


class CompiledDAGFuture(_Result):
    """Result of CompiledDAG.execute_async(), for `await`."""

    def _again(self) -> str:
        return (
            "CompiledDAGFuture can only be awaited upon once, and it has already been awaited upon."
        )

    def __await__(self) -> Generator[Any, None, Any]:
        return self._take().__await__()


def is_result(value: Any) -> bool:
    """A CompiledDAGRef, or a list that starts with one."""
    return isinstance(value[0] if isinstance(value, list) and value else value, CompiledDAGRef)


def get(refs: Any, timeout: float | None) -> Any:
    """`get` of what is_result() holds for."""
    if not isinstance(refs, list):
        return refs.get(timeout)
    if not all(isinstance(ref, CompiledDAGRef) for ref in refs):
        raise ValueError("a list for get() has either only CompiledDAGRefs or none")
    return [ref.get(timeout) for ref in refs]
