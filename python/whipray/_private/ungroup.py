"""Generators of which each `yield` gives several objects at once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any


def ungrouped(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`function` with the objects of each tuple or list of `count` that it yields one by one."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def one_by_one_async(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async for group in function(*args, **kwargs):
                for value in _checked(group, count):
                    yield value

        return one_by_one_async

    @functools.wraps(function)
    def one_by_one(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for group in function(*args, **kwargs):
            yield from _checked(group, count)

    return one_by_one


def _checked(group: Any, count: int) -> Any:
    if not isinstance(group, tuple | list) or len(group) != count:
        raise ValueError(
            f"Streaming generator tasks with _num_objects_per_yield={count} must yield a tuple or "
            f"list of length {count}."
        )
    return group
