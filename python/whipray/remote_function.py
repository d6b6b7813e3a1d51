"""Functions that run as tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from whipray import _core
from whipray._private import exporting, options, shapes, signatures, strategies, worker

if TYPE_CHECKING:
    from whipray._private.generators import ObjectRefGenerator

R = TypeVar("R")


COROUTINE = 0x80
"""inspect.CO_COROUTINE, without that import."""


class GeneratorFunction(Protocol[R]):
    """What `@remote` makes of a function that yields, as type checkers see it."""

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRefGenerator[R]: ...
    def options(self, **task_options: Any) -> CountedFunction: ...
    def bind(self, *args: Any, **kwargs: Any) -> Any: ...


class CountedFunction(Protocol):
    """With `num_returns`, as type checkers see it: a reference, a list, a generator or None."""

    def remote(self, *args: Any, **kwargs: Any) -> Any: ...
    def options(self, **task_options: Any) -> CountedFunction: ...
    def bind(self, *args: Any, **kwargs: Any) -> Any: ...


class RemoteFunction(Generic[R]):
    """What `@remote` makes of a function: `f.remote(...)` runs it as a task.

    The function itself stays reachable as `_function`; the wrapper shows its name, its
    documentation and its signature.
    """

    remote: _core.TaskSubmitter[R]

    def __init__(self, function: Any, task_options: dict[str, Any]) -> None:
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & COROUTINE:
            raise ValueError(
                "'async def' should not be used for remote tasks. Give a function that runs the "
                "coroutine with `asyncio.run()`, or make it a method of an actor."
            )
        self._setup(function, task_options)

    def _setup(self, function: Any, task_options: dict[str, Any]) -> None:
        self._function = function
        if task_options.get("num_gpus") and task_options.get("max_calls") is None:
            task_options = {**task_options, "max_calls": 1}  # GPU memory goes with its process
        self._default_options = task_options
        self._exports = exporting.FunctionExports(function)
        self._function_name = exporting.full_name(function)
        self._configured: dict[tuple[Any, ...], ConfiguredFunction[R]] = {}
        _dress(self, function)
        self.remote = _submitter(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Remote functions cannot be called directly. Instead of running "
            f"'{self._function_name}()', try '{self._function_name}.remote()'."
        )

    def __repr__(self) -> str:
        return f"RemoteFunction({self._function_name})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        if worker.state.other is not None:
            from whipray._private import handover

            return handover.reduced(self._function, self._default_options)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self._function, "options": self._default_options}

    def __setstate__(self, values: dict[str, Any]) -> None:
        # A function that calls itself is here before it is whole: its signature comes later.
        self.__dict__["_unpickled"] = values

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_unpickled")
        if values is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._setup(values["function"], values["options"])
        self.__dict__.pop("_unpickled", None)
        return getattr(self, name)

    @overload
    def options(self, *, num_returns: int | str, **task_options: Any) -> CountedFunction: ...
    @overload
    def options(self, **task_options: Any) -> ConfiguredFunction[R]: ...
    def options(self, **task_options: Any) -> Any:
        """A wrapper with `.remote` under other options; this function stays as it is.

        Programs ask for the same few again and again: those are kept, ready for the session.
        """
        key = _key_of(task_options)
        found = self._configured.get(key) if key else None
        if found is not None:
            return found
        options.check_task(task_options, in_options=True)
        options.check_per_yield(task_options, self._default_options)
        options.check_returns(task_options, signatures.is_generator(self._function))
        made = ConfiguredFunction(self, options.merge_task(self._default_options, task_options))
        if key:
            if len(self._configured) >= KEPT_CONFIGURATIONS:
                self._configured.clear()
            self._configured[key] = made
        return made

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """The task as a node of a graph, see whipray.dag."""
        from whipray.dag import FunctionNode

        return FunctionNode(self._function, args, kwargs, self._default_options, target=self)

    def _remote(
        self, args: Any = None, kwargs: dict[str, Any] | None = None, **task_options: Any
    ) -> Any:
        """`.options(**task_options).remote(*args, **kwargs)`."""
        target = self.options(**task_options) if task_options else self
        return target.remote(*(args or ()), **(kwargs or {}))

    def _prepare(self, submitter: _core.TaskSubmitter[R]) -> Any:
        """Called by the submitter when it has not been used in the open session."""
        return prepare(submitter, self._exports, self._default_options)

    def _check_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signatures.check(self._function, self._function_name, args, kwargs)


KEPT_CONFIGURATIONS = 64
"""How many wrappers made by `.options` a function keeps at most."""
_KEPT_TYPES = frozenset((int, float, bool, type(None)))


def _key_of(task_options: dict[str, Any]) -> tuple[Any, ...] | None:
    """What finds the wrapper for these options again, if they are numbers; None: it is not kept.

    Nor are those with options that warn: they do so each time.
    """
    types = tuple(map(type, task_options.values()))
    kept = _KEPT_TYPES.issuperset(types) and strategies.DEPRECATED.isdisjoint(task_options)
    return (*task_options.items(), types) if kept else None


class ConfiguredFunction(Generic[R]):
    """What `f.options(...)` returns."""

    remote: _core.TaskSubmitter[R]

    def __init__(self, base: RemoteFunction[R], task_options: dict[str, Any]) -> None:
        self._base = base
        self._options = task_options
        self.remote = _submitter(self, base._function)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """The task as a node of a graph, see whipray.dag."""
        from whipray.dag import FunctionNode

        return FunctionNode(self._base._function, args, kwargs, self._options, target=self)

    def _remote(self, args: Any = None, kwargs: dict[str, Any] | None = None) -> Any:
        return self.remote(*(args or ()), **(kwargs or {}))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._base(*args, **kwargs)

    def __repr__(self) -> str:
        return f"{self._base!r}.options({options.shown(self._options)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfiguredFunction, (self._base, self._options)

    def _prepare(self, submitter: _core.TaskSubmitter[R]) -> Any:
        return prepare(submitter, self._base._exports, self._options)

    def _check_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._base._check_args(args, kwargs)


def prepare(
    submitter: _core.TaskSubmitter[Any],
    exports: exporting.FunctionExports,
    task_options: dict[str, Any],
) -> Any:
    """Make `submitter` ready for the open session, which is started if there is none.

    Returns who takes the call instead: a real Ray that has taken over, or whoever gives back the
    error of tasks that can not run at all.
    """
    worker.ensure_attached()
    if worker.state.other is not None:
        from whipray._private import handover

        return handover.remote(exports.function, task_options).remote
    yields = signatures.is_generator(exports.function)
    nreturns = options.returns(task_options.get("num_returns"), yields)
    env = task_options.get("runtime_env")
    retries = task_options.get("max_retries")
    resources = options.wanted(task_options, 1)
    name = getattr(exports.function, "__qualname__", "") or exporting.short_name(exports.function)
    target = strategies.target_of(task_options, resources, {}, name)
    if target.unschedulable or target.is_removed():
        return _failing(target, nreturns)
    submitter.name = exporting.own_name(task_options)
    submitter.fn = exports.ref(task_options, target.capture if target.group else None)
    try:
        submitter.shape = shapes.shape_of(resources, env, target)
    except Exception as error:
        if not target.explains(error):
            raise
        return _failing(target, nreturns)
    submitter.nreturns = nreturns
    submitter.room = options.room(task_options.get("_generator_backpressure_num_objects"))
    submitter.group, submitter.group_gen = target.numbers()
    submitter.retries = default_retries() if retries is None else retries
    submitter.retry_exceptions = bool(task_options.get("retry_exceptions"))
    submitter.epoch = _core.stamp()
    return None


def _failing(target: strategies.Target, nreturns: int) -> Any:
    """What stands in for the submitter of tasks that fail before they begin."""
    from whipray.exceptions import TaskPlacementGroupRemoved, TaskUnschedulableError

    error: Exception = TaskPlacementGroupRemoved()
    if target.unschedulable:
        error = TaskUnschedulableError(target.unschedulable)

    def submit(*args: Any, **kwargs: Any) -> Any:
        if nreturns == options.STREAMING:
            raise error
        refs = [_core.put_error(error) for _ in range(abs(nreturns))]
        return refs if nreturns > 1 else refs[0] if refs else None

    return submit


def default_retries() -> int:
    """Retries of a task that asks for no number of its own."""
    import os

    text = os.environ.get("RAY_TASK_MAX_RETRIES")
    return int(text) if text else options.DEFAULT_TASK_RETRIES


def _submitter(owner: Any, function: Any) -> Any:
    least, most = signatures.bounds(function)
    submitter: Any = _core.TaskSubmitter(owner, least, most, function)
    decorator = getattr(function, "__ray_invocation_decorator__", None)
    return submitter if decorator is None else _decorated(submitter, decorator)


def _decorated(submitter: Any, decorator: Any) -> Any:
    """A `remote` whose calls go through the decorator, which takes (args, kwargs) of each."""
    call = decorator(lambda args, kwargs: submitter(*args, **kwargs))

    def remote(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    return remote


_SHOWN = ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__type_params__")


def _dress(wrapper: Any, function: Any) -> None:
    """Let the wrapper look like the function to help(), inspect and editors."""
    for name in _SHOWN:
        value = getattr(function, name, None)
        if value is not None or name == "__doc__":
            setattr(wrapper, name, value)
    wrapper.__wrapped__ = function
