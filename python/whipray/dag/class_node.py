"""Nodes that are actors, or calls on actors."""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray.dag.constants import (
    BIND_INDEX_KEY,
    IS_CLASS_METHOD_OUTPUT_KEY,
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
)
from whipray.dag.dag_node import DAGNode
from whipray.dag.input_node import InputNode


class ClassNode(DAGNode):
    """An actor that execute() starts: what `Cls.bind()` gives.  Its attributes are its methods."""

    def __init__(
        self,
        cls: type,
        cls_args: Any,
        cls_kwargs: dict[str, Any],
        cls_options: dict[str, Any],
        other_args_to_resolve: dict[str, Any] | None = None,
        *,
        target: Any = None,
    ) -> None:
        super().__init__(cls_args, cls_kwargs, cls_options, other_args_to_resolve)
        self._body = cls
        self._last_call: ClassMethodNode | None = None
        if target is None:
            from whipray.actor import ActorClass

            target = ActorClass(cls, dict(cls_options))
        self._target = target
        if any(isinstance(node, InputNode) for node in self._get_all_child_nodes()):
            raise ValueError(
                "InputNode handles user dynamic input the DAG, and cannot be used as args, kwargs, "
                "or other_args_to_resolve in ClassNode constructor because it is not available at "
                "class construction or binding time."
            )

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._target.remote(*self._bound_args, **self._bound_kwargs)

    def _body_text(self) -> str:
        return str(self._body)

    def __getattr__(self, name: str) -> Any:
        body = self.__dict__.get("_body")
        if body is None or (name.startswith("__") and name != "__call__"):
            raise AttributeError(name)
        if name == "bind" and not hasattr(body, "bind"):
            raise AttributeError(f".bind() cannot be used again on {type(self)} ")
        getattr(body, name)  # AttributeError if there is no such method
        return _UnboundClassMethodNode(self, name, {})


class _UnboundClassMethodNode:
    """`node.method`, to be bound."""

    def __init__(self, actor: ClassNode, method_name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._method_name = method_name
        self._options = options

    def options(self, **options: Any) -> _UnboundClassMethodNode:
        """The method under other options."""
        return _UnboundClassMethodNode(self._actor, self._method_name, options)

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A call; those of one actor run in the order in which they were bound."""
        others = {
            PARENT_CLASS_NODE_KEY: self._actor,
            PREV_CLASS_METHOD_CALL_KEY: self._actor._last_call,
        }
        node = ClassMethodNode(self._method_name, args, kwargs, self._options, others)
        self._actor._last_call = node
        return node

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(
                ".remote() cannot be used on ClassMethodNodes. Use .bind() instead to express an "
                "symbolic actor call."
            )
        raise AttributeError(name)


class ClassMethodNode(DAGNode):
    """A call on an actor, or one of the values of a call that returns several.

    `target`: the method of a living actor; None: it is found once the actor is there.
    """

    def __init__(
        self,
        method_name: str,
        method_args: Any,
        method_kwargs: dict[str, Any],
        method_options: dict[str, Any],
        other_args_to_resolve: dict[str, Any],
        *,
        target: Any = None,
    ) -> None:
        super().__init__(method_args, method_kwargs, method_options, other_args_to_resolve)
        self._method_name = method_name
        self._target = target

    @property
    def is_class_method_output(self) -> bool:
        """It stands for one of several values of a call."""
        return bool(self._bound_other_args_to_resolve.get(IS_CLASS_METHOD_OUTPUT_KEY))

    @property
    def is_class_method_call(self) -> bool:
        """It is a call."""
        return not self.is_class_method_output

    @property
    def class_method_call(self) -> ClassMethodNode | None:
        """The call whose value it stands for; None for a call."""
        return self._bound_args[0] if self.is_class_method_output else None

    @property
    def output_idx(self) -> int | None:
        """Which value of the call it stands for; None for a call."""
        return self._bound_args[1] if self.is_class_method_output else None

    @property
    def num_returns(self) -> int:
        """Number of values of the call."""
        call = self.class_method_call or self
        asked = call._bound_options.get("num_returns")
        if asked is None:
            return 1 if call._target is None else int(call._target._info[1])
        return int(asked)

    @property
    def _parent_class_node(self) -> Any:
        return self._bound_other_args_to_resolve.get(PARENT_CLASS_NODE_KEY)

    def get_method_name(self) -> str:
        """Name of the method."""
        return self._method_name

    def _get_bind_index(self) -> int | None:
        return self._bound_other_args_to_resolve.get(BIND_INDEX_KEY)

    def _get_actor_handle(self) -> Any:
        parent = self._parent_class_node
        return parent if isinstance(parent, _core.ActorHandle) else None

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_class_method_output:
            return self._bound_args[0][self._bound_args[1]]
        method = self._target
        if method is None:
            method = getattr(self._parent_class_node, self._method_name)
            if self._bound_options:
                method = method.options(**self._bound_options)
        return method.remote(*self._bound_args, **self._bound_kwargs)

    def _body_text(self) -> str:
        return f"{self._method_name}()"

    def __repr__(self) -> str:
        return str(self)


def bind_call(method: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What `handle.method.bind()` gives: the call, or a tuple of its values if it has several."""
    handle = method._handle
    handle._check_args(method._name, args, kwargs)
    others = {PARENT_CLASS_NODE_KEY: handle, PREV_CLASS_METHOD_CALL_KEY: None}
    node = ClassMethodNode(method._name, args, kwargs, {}, others, target=method)
    if node.num_returns <= 1:
        return node
    mark = {IS_CLASS_METHOD_OUTPUT_KEY: True, PARENT_CLASS_NODE_KEY: handle}
    return tuple(
        ClassMethodNode(f"return_idx_{i}", (node, i), {}, {}, mark) for i in range(node.num_returns)
    )
