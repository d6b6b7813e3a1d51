"""The arguments of execute() and their parts."""

from __future__ import annotations

from typing import Any

from whipray.dag.dag_node import DAGNode

IN_CONTEXT_MANAGER = "__in_context_manager__"
_KEY = "Please only use int index or str as first-level key to access fields of dag input."


class InputNode(DAGNode):
    """Stands for the arguments of execute(): for the only one, or by index and key for several.

    with InputNode() as given:
        graph = add.bind(given[0], given.x)
    graph.execute(1, x=2)
    """

    _is_input = True

    def __init__(self, *args: Any, input_type: Any = None, **kwargs: Any) -> None:
        if args or kwargs:
            raise ValueError("InputNode should not take any args or kwargs.")
        super().__init__()
        self.input_type = input_type
        self.input_attribute_nodes: dict[int | str, InputAttributeNode] = {}

    def __enter__(self) -> InputNode:
        self.set_context(IN_CONTEXT_MANAGER, True)
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def set_context(self, key: str, val: Any) -> None:
        """Note a fact that copies keep."""
        self._bound_other_args_to_resolve[key] = val

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        if not self._bound_other_args_to_resolve.get(IN_CONTEXT_MANAGER):
            raise AssertionError(
                "InputNode is a singleton instance that should be only used in context manager for "
                "dag building and execution: with InputNode() as given: ..."
            )
        return args[0] if len(args) == 1 and not kwargs else DAGInputData(*args, **kwargs)

    def _part(self, key: int | str, accessor: str) -> InputAttributeNode:
        found = self.input_attribute_nodes.get(key)
        if found is None:
            found = self.input_attribute_nodes[key] = InputAttributeNode(self, key, accessor)
        return found

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or "input_attribute_nodes" not in self.__dict__:
            raise AttributeError(key)
        return self._part(key, "__getattr__")

    def __getitem__(self, key: int | str) -> Any:
        if not isinstance(key, int | str):
            raise AssertionError(_KEY)
        return self._part(key, "__getitem__")

    def _body_text(self) -> str:
        return "__InputNode__"


class InputAttributeNode(DAGNode):
    """One of the arguments of execute(), or a part of the only one."""

    def __init__(self, dag_input_node: InputNode, key: int | str, accessor_method: str) -> None:
        super().__init__(other_args_to_resolve={"dag_input_node": dag_input_node})
        self._key = key
        self._accessor = accessor_method

    @property
    def key(self) -> int | str:
        """The index or name."""
        return self._key

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        given = self._bound_other_args_to_resolve["dag_input_node"]
        if isinstance(given, DAGInputData) or self._accessor == "__getitem__":
            return given[self._key]
        return getattr(given, str(self._key))

    def _body_text(self) -> str:
        return f'["{self._key}"]'


class DAGInputData:
    """Several arguments of execute() as one value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = list(args)
        self._kwargs = kwargs

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            return self._args[key]
        if isinstance(key, str):
            return self._kwargs[key]
        raise ValueError(_KEY)
