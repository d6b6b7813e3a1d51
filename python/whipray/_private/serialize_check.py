"""Finds out why a value cannot be pickled: which part of it, and where that part is."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, TextIO

from whipray._private import serialization

MAX_DEPTH = 12
MAX_PARTS = 200
"""How many parts of one object are tried, and how many objects in all: MAX_PARTS * 10."""


class FailureTuple:
    """A part that cannot be pickled: `obj`, the `path` of names that leads there from what was
    inspected, the `parent` that it was found in, and in words what it is there, its `name`.

    Equal to no other; hashed by identity, since obj need not be hashable.
    """

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any, name: str = "") -> None:
        self.obj = obj
        self.path = path
        self.parent = parent
        self.name = name or (path[-1] if path else "")

    def __repr__(self) -> str:
        return f"FailureTuple(obj={self.obj!r}, name={self.name!r}, parent={self.parent!r})"

    def told(self) -> str:
        """The part and where it is, in words."""
        return f"{self.name} (in {_short(self.parent)}): {_short(self.obj)}"


PUT = -2
"""What `explain` is told of a value that somebody puts."""


def explain(value: object, about: int | str | None, error: BaseException) -> str:
    """What to tell the user whose `value` could not be pickled because of `error`."""
    if about is None:
        subject = "the value"
    elif about == PUT:
        subject = "the put value"
    elif isinstance(about, int):
        subject = f"the argument at position {about}"
    else:
        subject = f"the argument {about!r}"
    path, reason = find_culprit(value)
    where = "".join(f"{step}: " for step in path)
    return f"Could not serialize {subject} {_short(value)}: {where}{reason or _text(error)}"


def find_culprit(value: object) -> tuple[list[str], str | None]:
    """The way to the innermost part that cannot be pickled.

    Returns:
        The steps, such as "attribute 'lock' of Foo", from the outside in, and what pickle says of
        the last part (None when value can be pickled after all).
    """
    path: list[str] = []
    reason = _failure(value)
    seen = {id(value)}
    budget = MAX_PARTS * 10
    while reason is not None and len(path) < MAX_DEPTH:
        for step, part in islice(_parts(value), MAX_PARTS):
            if id(part) in seen or budget <= 0:
                continue
            budget -= 1
            seen.add(id(part))
            part_reason = _failure(part)
            if part_reason is not None:
                path.append(step)
                value, reason = part, part_reason
                break
        else:
            break
    return path, reason


def _failure(value: object) -> str | None:
    """What pickling value raises, as text; None when it works."""
    try:
        serialization.dumps(value, [])
    except Exception as error:
        return _text(error)
    return None


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _short(value: object, limit: int = 60) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


# ---- the parts of an object ------------------------------------------------------------------


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """What pickling value would pickle, each with the words that say where it is."""
    if isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield f"object of the method {value.__name__!r}", value.__self__
        yield f"function of the method {value.__name__!r}", value.__func__
    elif isinstance(value, partial):
        yield "function of the partial", value.func
        yield from _items(value.args, "argument {} of the partial")
        for key, item in value.keywords.items():
            yield f"argument {key!r} of the partial", item
    else:
        yield from _parts_of_container(value)
        yield from _parts_of_instance(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    name = function.__name__
    found = inspect.getclosurevars(function)
    for kind, names in (("variable", found.nonlocals), ("global variable", found.globals)):
        for variable, value in names.items():
            yield f"{kind} {variable!r} used by the function {name!r}", value
    yield from _items(function.__defaults__ or (), f"default {{}} of the function {name!r}")
    for key, value in (function.__kwdefaults__ or {}).items():
        yield f"default of {key!r} of the function {name!r}", value
    for key, value in vars(function).items():
        yield f"attribute {key!r} of the function {name!r}", value


def _items(values: Any, text: str) -> Iterator[tuple[str, object]]:
    for i, value in enumerate(values):
        yield text.format(i), value


def _parts_of_container(value: object) -> Iterator[tuple[str, object]]:
    kind = type(value).__name__
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"item {_short(key)} of {kind}", item
            yield f"a key of {kind}", key
    elif isinstance(value, (list, tuple)):
        yield from _items(value, f"item {{}} of {kind}")
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f"an item of {kind}", item


def _parts_of_instance(value: object) -> Iterator[tuple[str, object]]:
    kind = type(value).__name__
    attributes = dict(getattr(value, "__dict__", None) or {})
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                attributes[slot] = getattr(value, slot)
    if isinstance(value, type):
        kind = f"the class {value.__name__}"
        made = types.GetSetDescriptorType | types.MemberDescriptorType  # along with the class
        attributes = {name: part for name, part in attributes.items() if not isinstance(part, made)}
    elif type(value).__module__ == "__main__":
        yield f"class of {kind}", type(value)
    for name, part in attributes.items():
        yield f"attribute {name!r} of {kind}", part


# ---- the report ------------------------------------------------------------------------------


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Tells whether base_obj can be sent to another process, and prints what stands in the way.

    Args:
        base_obj: any value, function or class.
        name: what to call it in the report; its repr by default.
        depth: how many levels of parts inside parts are looked at.
        print_file: where the report goes; standard output by default.

    Returns:
        Whether base_obj can be pickled, and the innermost parts that cannot.
    """

    def say(level: int, text: str) -> None:
        print("  " * level + text, file=print_file)

    title = name or _short(base_obj)
    failures: set[FailureTuple] = set()
    say(0, f"Can {title} be serialized?")
    reason = _failure(base_obj)
    if reason is None:
        say(0, "Yes.")
        return True, failures
    say(0, f"No: {reason}")
    path = () if name is None else (name,)
    root = FailureTuple(base_obj, path, base_obj, title)
    _report(root, depth, failures, {id(base_obj)}, partial(say, 1))
    say(0, "What stands in the way:")
    for failure in failures:
        say(1, failure.told())
    say(0, "Replace or remove these parts, or make them where they are used.")
    return False, failures


def _report(
    found: FailureTuple,
    depth: int,
    failures: set[FailureTuple],
    seen: set[int],
    say: Callable[[str], None],
) -> None:
    """Adds the innermost failing parts of what is known to fail to `failures`."""
    deeper = False
    for step, part in islice(_parts(found.obj), MAX_PARTS) if depth > 0 else ():
        if id(part) in seen:
            continue
        seen.add(id(part))
        reason = _failure(part)
        if reason is not None:
            deeper = True
            say(f"{step}: {reason}")
            path = (*found.path, _name_in(step))
            inner = FailureTuple(part, path, found.obj, step)
            _report(inner, depth - 1, failures, seen, say)
    if not deeper:
        failures.add(found)


def _name_in(step: str) -> str:
    """The variable, attribute or key that the words are about."""
    quoted = step.split("'", 2)
    return quoted[1] if len(quoted) == 3 else step
