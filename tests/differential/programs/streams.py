"""Generators: streams, fixed numbers of returns, "dynamic"."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ..catalogue import Ray, program
from ..observe import Outcome, attempt


def count(n: int, fail: int = -1) -> Iterator[int]:
    for i in range(n):
        if i == fail:
            raise ValueError(f"at {i}")
        yield i


class Counter:
    def up(self, n: int, fail: int = -1) -> Iterator[int]:
        yield from count(n, fail)

    def numbers(self) -> list[int]:
        return [1, 2]


class AsyncCounter:
    async def up(self, n: int, fail: int = -1) -> AsyncIterator[int]:
        for i in count(n, fail):
            await asyncio.sleep(0)
            yield i


def read(ray: Ray, stream: Any) -> Any:
    """Every item, the end, and what is said afterwards."""
    items = [attempt(lambda ref=ref: ray.get(ref)) for ref in stream]
    return [
        items,
        attempt(lambda: next(stream)),
        attempt(lambda: ray.get(stream.completed()), text=False),
        stream.is_finished(),
    ]


LENGTHS = {"none": (0,), "some": (3,), "fails at once": (3, 0), "fails midway": (4, 2)}


@program(each=LENGTHS)
def of_a_task(ray: Ray, arguments: Any) -> Any:
    return read(ray, ray.remote(count).remote(*arguments))


@program(each=LENGTHS)
def of_an_actor(ray: Ray, arguments: Any) -> Any:
    return read(ray, ray.remote(Counter).remote().up.remote(*arguments))


@program(each=LENGTHS)
def of_an_async_actor(ray: Ray, arguments: Any) -> Any:
    return read(ray, ray.remote(AsyncCounter).remote().up.remote(*arguments))


@program(each=LENGTHS)
def awaited(ray: Ray, arguments: Any) -> Any:
    async def main() -> Any:
        items = []
        async for ref in ray.remote(count).remote(*arguments):
            try:
                items.append(await ref)
            except Exception as error:
                items.append(Outcome(error=error))
        return items

    return asyncio.run(main())


@program(each={"fewer": (2,), "as many": (3,), "more": (4,), "fails": (4, 1)})
def fixed_number_of_returns(ray: Ray, arguments: Any) -> Any:
    refs = ray.remote(count).options(num_returns=3).remote(*arguments)
    return [attempt(lambda ref=ref: ray.get(ref)) for ref in refs]


SURFACE: dict[str, Any] = {
    "length": len,
    "item": lambda stream: stream[0],
    "send": lambda stream: stream.send(3),
    "close": lambda stream: stream.close(),
    "itself": lambda stream: iter(stream) is stream,
}


@program(each=SURFACE)
def surface(ray: Ray, use: Any) -> Any:
    stream = ray.remote(count).remote(2)
    outcome = attempt(lambda: use(stream), text=False)
    return [outcome, [ray.get(ref) for ref in stream]]


@program
def get_gives_it_back(ray: Ray) -> Any:
    stream = ray.remote(count).remote(2)
    return [ray.get(stream) is stream, attempt(lambda: ray.get([stream]), text=False)]


@program
def may_not_be_passed_on(ray: Ray) -> Any:
    stream = ray.remote(count).remote(2)
    calls = (lambda: ray.put(stream), lambda: ray.remote(lambda x: x).remote(stream))
    return [attempt(call, text=False) for call in calls]


@program
def waited_for_in_turn(ray: Ray) -> Any:
    streams = [ray.remote(count).remote(3) for _ in range(3)]
    items = []
    while streams:
        ready, streams = ray.wait(streams)
        for stream in ready:
            try:
                items.append(ray.get(next(stream)))
                streams.append(stream)
            except StopIteration:
                items.append(-1)
    return sorted(items)


@program
def items_as_arguments(ray: Ray) -> Any:
    total = ray.remote(lambda *numbers: sum(numbers))
    return ray.get(total.remote(*ray.remote(count).remote(5)))


def as_dynamic(made: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        return made.options(num_returns="dynamic")


@program(each={"task": False, "call": True})
def dynamic(ray: Ray, of_actor: bool) -> Any:
    made = ray.remote(Counter).remote().up if of_actor else ray.remote(count)
    ref = as_dynamic(made).remote(3)
    found = ray.get(ref)
    length = ray.remote(lambda refs: len(list(refs)))
    passed = [ray.get(length.remote(ref)), ray.get(length.remote(found))]
    return [type(found).__name__, [ray.get(item) for item in found], passed]


@program(each={"streaming": False, "dynamic": True})
def of_a_method_that_returns(ray: Ray, is_dynamic: bool) -> Any:
    method = ray.remote(Counter).remote().numbers

    def items() -> Any:
        if is_dynamic:
            return list(ray.get(as_dynamic(method).remote()))
        return list(method.options(num_returns="streaming").remote())

    return attempt(items, text=False)
