"""Nodes that are tasks."""

from __future__ import annotations

from typing import Any

from whipray.dag.dag_node import DAGNode


class FunctionNode(DAGNode):
    """A task: what `f.bind()` gives.  `target`: what has the `.remote` to call."""

    def __init__(
        self,
        func_body: Any,
        func_args: Any,
        func_kwargs: dict[str, Any],
        func_options: dict[str, Any],
        other_args_to_resolve: dict[str, Any] | None = None,
        *,
        target: Any = None,
    ) -> None:
        super().__init__(func_args, func_kwargs, func_options, other_args_to_resolve)
        self._body = func_body
        if target is None:
            from whipray.remote_function import RemoteFunction

            target = RemoteFunction(func_body, dict(func_options))
        self._target = target

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._target.remote(*self._bound_args, **self._bound_kwargs)

    def _body_text(self) -> str:
        return str(self._body)
