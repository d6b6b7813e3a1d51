"""Classes that live in a process of their own: actor classes, handles and their methods."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar, overload

from whipray import _core
from whipray._private import (
    actor_table,
    exporting,
    options,
    shapes,
    signatures,
    strategies,
    worker,
)

_TEXT_BYTES = 128
"""What the record of an actor has room for: its class, its name and its namespace."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "exit_actor",
    "method",
]


class ActorClassInheritanceException(TypeError):
    """An actor class was used as a base class."""


@overload
def method(function: F, /) -> F: ...
@overload
def method(**given: Any) -> Callable[[F], F]: ...


def method(*args: Any, **given: Any) -> Any:
    """Options of one method: @method(num_returns=2, concurrency_group="io", …); also bare."""
    if len(args) == 1 and not given and callable(args[0]):
        return args[0]
    if args:
        raise ValueError(
            "The @ray.method decorator must be applied using no arguments or keyword arguments, "
            "for example '@ray.method(num_returns=2)'."
        )
    actor_table.check_marks(given)

    def mark(function: F) -> F:
        if not given:
            return function
        options.check_returns(given, signatures.is_generator(function))
        setattr(function, actor_table.MARK, given)
        return function

    return mark


def exit_actor() -> NoReturn:
    """Leave the actor that runs this method: it ends without an error and is not restarted."""
    from whipray._private import serving

    serving.leave_actor()


# ---- classes -------------------------------------------------------------------------------------


class ActorClassMetadata:
    """The user's class and what is known of it: `Cls.__ray_metadata__`."""

    def __init__(self, cls: type[Any]) -> None:
        self.modified_class = cls
        self.class_name = cls.__name__
        self.module = cls.__module__
        self.table = actor_table.Table(cls)
        self.is_asyncio = self.table.is_async


class ActorClass(Generic[T]):
    """What `@remote` makes of a class: `Cls.remote(...)` starts an actor and returns its handle."""

    __ray_metadata__: ActorClassMetadata

    def __init__(self, cls: Any, actor_options: Any, *more: Any) -> None:
        if more or not isinstance(cls, type):
            _refuse_subclass(str(cls), actor_options)
        self._setup(cls, actor_options)

    def _setup(self, cls: type[Any], actor_options: dict[str, Any]) -> None:
        self.__dict__["__ray_metadata__"] = ActorClassMetadata(cls)
        self._default_options = actor_options
        self._cls = self.__dict__["__ray_actor_class__"] = cls
        self._exports = ClassExports(self.__ray_metadata__)
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            self.__dict__[name] = getattr(cls, name, None)

    @property
    def __signature__(self) -> Any:
        """What `.remote(...)` takes."""
        import inspect

        return inspect.signature(self._cls)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.__ray_metadata__.modified_class.__qualname__
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'."
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        _refuse_subclass("a class", bases)

    def __repr__(self) -> str:
        return f"ActorClass({self.__ray_metadata__.class_name})"

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_unpickled")
        if values is not None:
            self._setup(values["cls"], values["options"])
            self.__dict__.pop("_unpickled", None)
            return getattr(self, name)
        cls = self.__dict__.get("_cls")
        if cls is None or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(cls, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._cls)})

    def __reduce_ex__(self, protocol: Any) -> Any:
        if worker.state.other is not None:
            from whipray._private import handover

            return handover.reduced(self._cls, self._default_options)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {"cls": self._cls, "options": self._default_options}

    def __setstate__(self, values: dict[str, Any]) -> None:
        # A class whose methods name it is here before it is whole: its methods come later.
        self.__dict__["_unpickled"] = values

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Start an actor; its constructor gets the arguments."""
        return self._remote(args, kwargs)

    def options(self, **actor_options: Any) -> ConfiguredClass[T]:
        """A wrapper with `.remote` under other options; this class stays as it is."""
        options.check_actor(actor_options, in_options=True)
        return ConfiguredClass(self, options.merge(self._default_options, actor_options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """The actor as a node of a graph, see whipray.dag."""
        from whipray.dag import ClassNode

        return ClassNode(self._cls, args, kwargs, self._default_options, target=self)

    def _remote(
        self, args: Any = None, kwargs: dict[str, Any] | None = None, **actor_options: Any
    ) -> ActorHandle[T]:
        """`.options(**actor_options).remote(*args, **kwargs)`."""
        if actor_options:
            return self.options(**actor_options).remote(*(args or ()), **(kwargs or {}))
        return create(self, self._default_options, tuple(args or ()), kwargs or {})


class ConfiguredClass(Generic[T]):
    """What `Cls.options(...)` returns."""

    def __init__(self, base: ActorClass[T], actor_options: dict[str, Any]) -> None:
        self._base = base
        self._options = actor_options

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Start an actor under these options."""
        return create(self._base, self._options, args, kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """The actor as a node of a graph, see whipray.dag."""
        from whipray.dag import ClassNode

        return ClassNode(self._base._cls, args, kwargs, self._options, target=self)

    def __repr__(self) -> str:
        return f"{self._base!r}.options({options.shown(self._options)})"

    def _remote(self, args: Any = None, kwargs: dict[str, Any] | None = None) -> ActorHandle[T]:
        return self.remote(*(args or ()), **(kwargs or {}))


def _refuse_subclass(name: str, bases: Any) -> NoReturn:
    actors = [base for base in bases or () if isinstance(base, ActorClass)]
    shown = actors[0].__ray_metadata__.class_name if actors else "?"
    raise ActorClassInheritanceException(
        f"Attempted to define subclass '{name}' of actor class '{shown}'. Inheriting from actor "
        "classes is not currently supported. You can instead inherit from a non-actor base class "
        "and make the derived class an actor class (with @ray.remote)."
    )


class ClassExports:
    """The exports of one class in the open session: its pickle, its descriptions."""

    def __init__(self, meta: ActorClassMetadata) -> None:
        self._meta = meta
        self._epoch = 0
        self._cls: _core.ObjectRef[Any] | None = None
        self._descriptions: dict[Any, tuple[Any, ...]] = {}
        self._lock = threading.Lock()

    def get(
        self, task_retries: int, groups: dict[str, int], labels: dict[str, Any]
    ) -> tuple[Any, ...]:
        """(class reference, description reference, methods, facts)."""
        with self._lock:
            if self._epoch != _core.epoch():
                self._cls = None
                self._descriptions.clear()
                self._epoch = _core.epoch()
            key = task_retries, tuple(groups), repr(labels)
            if key not in self._descriptions:
                self._descriptions[key] = self._describe(task_retries, list(groups), labels)
            if self._cls is None:
                self._cls = self._export()
            return (self._cls, *self._descriptions[key])

    def _describe(
        self, task_retries: int, groups: list[str], labels: dict[str, Any]
    ) -> tuple[Any, ...]:
        methods = self._meta.table.infos(task_retries, groups)
        facts = {**self._meta.table.facts(groups), **labels}
        packed = actor_table.pack_description(methods, facts)
        return exporting.export(packed, exporting.DESCRIPTION), methods, facts

    def _export(self) -> _core.ObjectRef[Any]:
        cls = self._meta.modified_class
        name = f"{exporting.module_of(cls)}.{exporting.short_name(cls)}"
        payload = exporting.dumps_definition((cls, self._meta.table.order(), name), cls)
        return exporting.export(payload, exporting.CLASS)


# ---- creation ------------------------------------------------------------------------------------


def create(
    actor_class: ActorClass[T],
    given: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ActorHandle[T]:
    """Start an actor of the class with all options resolved, or find it by name."""
    options.check_actor_call(given)
    meta = actor_class.__ray_metadata__
    _check_constructor(meta.modified_class, args, kwargs)
    worker.ensure_attached()
    if worker.state.other is not None:
        from whipray._private import handover

        there: ActorHandle[T] = handover.remote(meta.modified_class, given).remote(*args, **kwargs)
        return there
    name, namespace = given.get("name") or "", given.get("namespace") or worker.state.namespace
    if not given.get("get_if_exists"):
        return _create_one(actor_class, given, name, namespace, args, kwargs)
    from whipray.exceptions import ActorAlreadyExistsError

    while True:
        found: Any = _core.get_actor(name, namespace)
        if found is not None:
            return found  # type: ignore[no-any-return]
        try:
            return _create_one(actor_class, given, name, namespace, args, kwargs)
        except ActorAlreadyExistsError:
            continue  # somebody else was quicker: take theirs


def _create_one(
    actor_class: ActorClass[T],
    given: dict[str, Any],
    name: str,
    namespace: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ActorHandle[T]:
    meta = actor_class.__ray_metadata__
    groups = options.groups_of_actor(given)
    concurrency = _concurrency(meta, given, groups)
    cls, description, methods, facts = actor_class._exports.get(
        given.get("max_task_retries") or 0, groups, exporting.labels_asked(given)
    )
    env = given.get("runtime_env")
    place, held = options.actor_shapes(given)
    target = strategies.target_of(given, held, place, meta.modified_class.__qualname__)
    (place_shape, shape), cause = _shapes(place, held, env, target)
    group, generation = (0, 0) if cause else target.numbers()
    orders = {"max_concurrency": concurrency, "groups": groups, "name": name, "held": held}
    if room := options.room(given.get("_actor_generator_backpressure_num_objects")):
        orders["room"] = room
    if group:
        orders["captures"] = target.capture
    spec = {
        "cls": cls,
        "meta": description,
        "methods": methods,
        "info": facts,
        "shape": shape,
        "place_shape": place_shape,
        "group": group,
        "group_gen": generation,
        "cause": cause,
        "max_concurrency": concurrency + sum(groups.values()),
        "is_async": meta.is_asyncio,
        "detached": _lives_on(given.get("lifetime")),
        "any_order": bool(given.get("allow_out_of_order_execution")),
        "max_pending": max(0, given.get("max_pending_calls") or 0),
        "max_restarts": given.get("max_restarts") or 0,
        "name": name,
        "namespace": namespace,
        "cls_name": _shown(meta.modified_class, name, namespace),
    }
    try:
        return _core.actor_create(spec, (*args, orders), kwargs)  # type: ignore[return-value]
    except Exception as error:
        if cause or not (target.explains(error) or _outdated((place_shape, shape))):
            raise
        return _create_one(actor_class, given, name, namespace, args, kwargs)


def _outdated(tickets: tuple[int, int]) -> bool:
    """Have they become worthless since they were asked for, in a session that is still open?"""
    return _core.attached() and not all(map(_core.is_current, tickets))


def _shown(cls: type[Any], name: str, namespace: str) -> str:
    """What errors and listings call the class: its full name, if the actor's has room beside it."""
    full = cls.__qualname__
    fits = len(f"{full}{name}{namespace}".encode()) <= _TEXT_BYTES
    return full if fits else cls.__name__


def _shapes(
    place: dict[str, float],
    held: dict[str, float],
    env: dict[str, str] | None,
    target: strategies.Target,
) -> tuple[tuple[int, int], int]:
    """(queues for placing and holding, why the actor can not run; 0: it can)."""
    cause = strategies.UNSCHEDULABLE if target.unschedulable else 0
    if not cause and not target.is_removed():
        try:
            return (shapes.shape_of(place, env, target), shapes.shape_of(held, env, target)), 0
        except Exception as error:
            if not target.explains(error):
                raise
    anywhere = shapes.shape_of({}, env)
    return (anywhere, anywhere), cause or strategies.GROUP_REMOVED


def _lives_on(lifetime: str | None) -> bool:
    return worker.state.detached if lifetime is None else lifetime == "detached"


def _concurrency(meta: ActorClassMetadata, given: dict[str, Any], groups: dict[str, int]) -> int:
    asked = given.get("max_concurrency")
    if asked == 0 and meta.is_asyncio:
        raise ValueError("max_concurrency must be >= 1: no call of an async actor could run")
    limit = asked or (actor_table.ASYNC_CONCURRENCY if meta.is_asyncio else 1)
    free_order = meta.is_asyncio or limit > 1 or bool(groups)
    if given.get("allow_out_of_order_execution") is False and free_order:
        raise ValueError(
            "allow_out_of_order_execution=False is not possible for async and threaded actors: "
            "their calls run in no particular order."
        )
    return int(limit)


def _check_constructor(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    constructor: Any = cls.__init__
    if constructor is object.__init__:
        maker: Any = cls.__new__
        if (args or kwargs) and maker is object.__new__:
            signatures.bind(actor_table.signature_of([]), f"{cls.__name__}.remote", args, kwargs)
        return
    least, most = signatures.bounds(constructor, skip=1)
    if kwargs or len(args) < least or (most >= 0 and len(args) > most) or least > most >= 0:
        signatures.check(constructor, f"{cls.__name__}.remote", args, kwargs, skip=1)


# ---- handles -------------------------------------------------------------------------------------


class ActorHandle(_core.ActorHandle, Generic[T]):
    """Refers to an actor; `handle.method.remote(...)` calls it.

    Can be passed to tasks and other actors.  The actor ends when its last handle is gone, unless it
    is detached.
    """

    @property
    def _actor_id(self) -> Any:
        from whipray._private.ids import ActorID

        return ActorID(self._actor_bytes())

    @property
    def _ray_actor_id(self) -> Any:
        return self._actor_id

    def __repr__(self) -> str:
        return f"Actor({self._info['shown']}, {self._actor_bytes().hex()})"

    def __dir__(self) -> list[str]:
        """The methods that can be called: what editors offer."""
        return sorted({"__init__", *self._methods})

    def _absent(self, name: str) -> NoReturn:
        """Called for what is not there; a handle that is being made has no class yet."""
        text = f"'ActorHandle' object has no attribute {name!r}"
        error = AttributeError(text, name=name, obj=self)
        if self._info is not None and not name.startswith("_"):
            error.add_note(
                f"A handle of {self._info['class']} has its methods; what else an instance has "
                "stays in the actor's process, where a method can return it."
            )
        raise error

    def __setattr__(self, name: str, value: Any) -> None:
        """Programs may note something at a handle; it stays in this process, and in this object."""
        if name in self._methods:  # they are found before anything else
            self._methods = {key: info for key, info in self._methods.items() if key != name}
        super().__setattr__(name, value)

    def _check_args(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """TypeError unless the call fits the method's signature."""
        if name == "__ray_call__":
            if not args:
                raise TypeError("__ray_call__ needs the function to call")
            return
        found = self._info.get("parameters", {}).get(name)
        if found is not None or name in actor_table.BUILTIN:
            called = f"{self._info['class']}.{name}"
            signatures.bind(actor_table.signature_of(found or []), called, args, kwargs)


ActorProxy = ActorHandle
"""What annotations call a handle in programs for Ray: `ActorProxy[Counter]`."""


class MethodMixin:
    """The rarer attributes of `handle.method`, found here by the C type."""

    __slots__ = ()
    _handle: Any
    _name: str
    _info: _core.MethodInfo
    _said: str | tuple[str | None, tuple[type[BaseException], ...]] | None

    @property
    def __name__(self) -> str:
        return self._name

    @property
    def __signature__(self) -> Any:
        """What a call takes, as far as the description of the class tells."""
        found = self._handle._info.get("parameters", {}).get(self._name)
        if found is None:
            raise AttributeError("__signature__")
        return actor_table.signature_of(found)

    @property
    def _method_name(self) -> str:
        return self._name

    @property
    def _num_returns(self) -> int | str:
        """What a call returns unless options say otherwise; libraries that wrap handles ask."""
        return options.written_returns(self._info[1])

    def options(self, **given: Any) -> _core.ActorMethod:
        """The method under other options, for the calls made through the result."""
        options.check_method(given)
        if "_num_objects_per_yield" in given:
            raise ValueError(
                "_num_objects_per_yield cannot be overridden per actor method call. Use "
                "@method(_num_objects_per_yield=...) instead."
            )
        facts = self._handle._info
        yields = self._name in facts.get("generators", ())
        options.check_returns(given, yields)
        number, nreturns, least, most, retries, group, retry_exceptions, room = self._info
        if given.get("num_returns") is not None:
            nreturns = options.returns(given["num_returns"], yields)
        if given.get("_generator_backpressure_num_objects") is not None:
            room = options.room(given["_generator_backpressure_num_objects"])
        if given.get("max_task_retries") is not None:
            retries = given["max_task_retries"]
        if given.get("concurrency_group") is not None:
            group = actor_table.group_number(facts["groups"], given["concurrency_group"])
        if "retry_exceptions" in given:
            retry_exceptions = bool(given["retry_exceptions"])
        info = (number, nreturns, least, most, retries, group, retry_exceptions, room)
        return _core.ActorMethod(self._handle, self._name, info, _told(self._said, given))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """The call as a node of a graph, see whipray.dag."""
        from whipray.dag.class_node import bind_call

        return bind_call(self, args, kwargs)

    def _remote(self, args: Any = None, kwargs: dict[str, Any] | None = None, **given: Any) -> Any:
        target: Any = self.options(**given) if given else self
        return target.remote(*(args or ()), **(kwargs or {}))


def _told(
    said: str | tuple[str | None, tuple[type[BaseException], ...]] | None, given: dict[str, Any]
) -> str | tuple[str | None, tuple[type[BaseException], ...]] | None:
    """What the worker is told of calls under these options: their name, exceptions to retry."""
    name, wanted = said if isinstance(said, tuple) else (said, None)
    name = given.get("name") or name
    retry = given.get("retry_exceptions")
    if retry:
        wanted = (Exception,) if retry is True else tuple(retry)
    return name if wanted is None else (name, wanted)


ActorMethod = _core.ActorMethod
_core.set_handle_class(ActorHandle)
_core.set_method_mixin(MethodMixin)
