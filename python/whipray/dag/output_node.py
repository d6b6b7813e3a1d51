"""The end of a graph with several results."""

from __future__ import annotations

from typing import Any

from whipray.dag.dag_node import DAGNode


class MultiOutputNode(DAGNode):
    """The end of a graph with several results: execute() gives a list."""

    def __init__(
        self,
        args: list[Any] | tuple[Any, ...],
        other_args_to_resolve: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(args, list | tuple):
            raise ValueError(f"Invalid input type for `args`, {type(args)}.")
        super().__init__(list(args), None, None, other_args_to_resolve)

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._bound_args

    def _body_text(self) -> str:
        return "__MultiOutputNode__"
