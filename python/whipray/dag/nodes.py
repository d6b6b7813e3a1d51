"""The kinds of nodes: tasks, actors and their calls, inputs and outputs."""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray.dag.node import DAGNode

PARENT_CLASS_NODE_KEY = "parent_class_node"
PREV_CLASS_METHOD_CALL_KEY = "prev_class_method_call"
BIND_INDEX_KEY = "bind_index"
IS_CLASS_METHOD_OUTPUT_KEY = "is_class_method_output"
IN_CONTEXT_MANAGER = "__in_context_manager__"
_KEY = "Please only use int index or str as first-level key to access fields of dag input."


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
