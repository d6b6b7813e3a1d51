"""Tasks that yield: ObjectRefGenerator, its order, its end, its errors and what one may do with it.

Bodies have no `yield from` over anything but generators: Ray sends values into what yields.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from .helpers import AppError, Gate, Ray, wait_until

Gates = Callable[[str], Gate]


def count_to(n: int) -> Any:
    for k in range(n):  # noqa: UP028
        yield k


def values(ray: Ray, generator: Any) -> list[Any]:
    return [ray.get(ref) for ref in generator]


def outcomes(ray: Ray, generator: Any) -> list[Any]:
    """The values, and the class of an error where there is one."""
    found: list[Any] = []
    for ref in generator:
        try:
            found.append(ray.get(ref))
        except Exception as error:
            found.append(type(getattr(error, "cause", None) or error).__name__)
    return found


# ---- order and kinds of items --------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 100, 2000])
def test_items_come_in_order(ray: Ray, n: int) -> None:
    assert values(ray, ray.remote(count_to).remote(n)) == list(range(n))


@pytest.mark.parametrize("form", ["plain", "decorator", "options"])
def test_a_function_that_yields_streams(ray: Ray, form: str) -> None:
    if form == "plain":
        remote = ray.remote(count_to)
    elif form == "decorator":
        remote = ray.remote(num_returns="streaming")(count_to)
    else:
        remote = ray.remote(num_returns=3)(count_to).options(num_returns="streaming")
    generator = remote.remote(3)
    assert isinstance(generator, ray.ObjectRefGenerator)
    assert values(ray, generator) == [0, 1, 2]


def test_items_are_references_of_the_task(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(3)
    refs = list(generator)
    assert all(type(ref) is ray.ObjectRef for ref in refs)
    assert len(set(refs)) == 3
    assert {ref.task_id() for ref in refs} == {generator._generator_ref.task_id()}
    assert ray.get(refs[::-1]) == [2, 1, 0]


def test_items_of_many_kinds(ray: Ray) -> None:
    made = [None, "text", b"x" * 100, {"a": [1, 2]}, (1, (2,)), 2**70, AppError(3, "as a value")]

    @ray.remote
    def produce() -> Any:
        for value in made:  # noqa: UP028
            yield value

    found = values(ray, produce.remote())
    assert found[:-1] == made[:-1]
    assert found[-1].code == 3


def test_large_items(ray: Ray) -> None:
    import numpy as np

    @ray.remote
    def produce(n: int) -> Any:
        for k in range(n):
            yield np.full(200_000, k)

    for k, ref in enumerate(produce.remote(20)):
        array = ray.get(ref)
        assert array[0] == array[-1] == k and len(array) == 200_000


def test_items_that_contain_references(ray: Ray) -> None:
    @ray.remote
    def produce(n: int) -> Any:
        for k in range(n):
            yield {"inner": ray.put([k] * 1000)}

    items = values(ray, produce.remote(5))
    assert [ray.get(item["inner"])[0] for item in items] == [0, 1, 2, 3, 4]


def test_items_as_arguments_of_tasks(ray: Ray) -> None:
    double = ray.remote(lambda x: 2 * x)
    assert ray.get([double.remote(ref) for ref in ray.remote(count_to).remote(5)]) == [
        0,
        2,
        4,
        6,
        8,
    ]


def test_an_item_is_there_before_the_next_one_is_made(ray: Ray, gate: Gates) -> None:
    second = gate("second")

    @ray.remote
    def produce() -> Any:
        yield "first"
        second.wait()
        yield "second"

    generator = produce.remote()
    assert ray.get(next(generator)) == "first"
    assert not generator.is_finished()
    second.open()
    assert values(ray, generator) == ["second"]


def test_a_value_returned_at_the_end_is_dropped(ray: Ray) -> None:
    @ray.remote
    def produce(early: bool) -> Any:
        yield 1
        if early:
            return "lost"
        yield 2

    assert values(ray, produce.remote(True)) == [1]
    assert values(ray, produce.remote(False)) == [1, 2]


def test_a_generator_that_delegates(ray: Ray) -> None:
    inner = ray.remote(count_to)

    @ray.remote
    def outer(n: int) -> Any:
        for ref in inner.remote(n):
            yield ray.get(ref) * 10

    assert values(ray, outer.remote(4)) == [0, 10, 20, 30]


def test_many_generators_at_once(ray: Ray) -> None:
    running = [ray.remote(count_to).remote(50) for _ in range(10)]
    totals = [0] * 10
    for _ in range(50):
        for k, generator in enumerate(running):
            totals[k] += ray.get(next(generator))
    assert totals == [1225] * 10
    for generator in running:
        with pytest.raises(StopIteration):
            next(generator)


def test_several_consumers_in_turn(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(6)
    first = [ray.get(next(generator)) for _ in range(2)]
    second = [ray.get(ref) for ref, _ in zip(generator, range(2), strict=False)]
    rest = values(ray, generator)
    assert (first, second[:2]) == ([0, 1], [2, 3])
    assert rest in ([4, 5], [5])  # zip takes one more before it stops


# ---- the end -------------------------------------------------------------------------------------


def test_the_end_is_the_end(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(1)
    assert iter(generator) is generator
    next(generator)
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(generator)
    assert list(generator) == []


def test_completed_is_set_at_the_end(ray: Ray, gate: Gates) -> None:
    end = gate("end")

    @ray.remote
    def produce() -> Any:
        yield 1
        end.wait()

    generator = produce.remote()
    ray.get(next(generator))
    done = generator.completed()
    assert done == generator._generator_ref
    assert ray.wait([done], timeout=0.1) == ([], [done])
    end.open()
    assert ray.get(done) is None


def test_is_finished_and_next_ready(ray: Ray, gate: Gates) -> None:
    first, last = gate("first"), gate("last")

    @ray.remote
    def produce() -> Any:
        first.wait()
        yield 1
        last.wait()

    generator = produce.remote()
    assert (generator.next_ready(), generator.is_finished()) == (False, False)
    first.open()
    wait_until(generator.next_ready)
    assert not generator.is_finished()
    next(generator)
    assert (generator.next_ready(), generator.is_finished()) == (False, False)
    last.open()
    wait_until(generator.is_finished)
    assert not generator.next_ready()
    with pytest.raises(StopIteration):
        next(generator)


def test_next_sync_with_a_timeout(ray: Ray, gate: Gates) -> None:
    first, last = gate("first"), gate("last")

    @ray.remote
    def produce() -> Any:
        first.wait()
        yield "item"
        last.wait()

    generator = produce.remote()
    assert generator._next_sync(0).is_nil()
    assert generator._next_sync(timeout_s=0.05).is_nil()
    first.open()
    assert ray.get(generator._next_sync()) == "item"
    assert generator._next_sync(0.05).is_nil()
    last.open()
    with pytest.raises(StopIteration):
        while generator._next_sync(1).is_nil():
            pass


# ---- errors --------------------------------------------------------------------------------------


def test_an_error_is_the_last_item(ray: Ray) -> None:
    @ray.remote
    def produce() -> Any:
        yield 1
        yield 2
        raise AppError(7, "half way")

    generator = produce.remote()
    refs = list(generator)
    assert len(refs) == 3
    assert ray.get(refs[:2]) == [1, 2]
    with pytest.raises(AppError) as caught:
        ray.get(refs[2])
    assert caught.value.code == 7
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert refs[2] != generator.completed()
    assert ray.get(generator.completed()) is None
    assert generator.is_finished()


def test_an_error_before_the_first_item(ray: Ray) -> None:
    @ray.remote
    def produce() -> Any:
        raise KeyError("early")
        yield 1

    generator = produce.remote()
    with pytest.raises(KeyError):
        ray.get(next(generator))
    with pytest.raises(StopIteration):
        next(generator)


def test_a_failed_argument_is_the_only_item(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise ZeroDivisionError("argument")

    generator = ray.remote(count_to).remote(fail.remote())
    ref = next(generator)
    assert ref == generator.completed()
    with pytest.raises(ray.exceptions.RayTaskError):
        ray.get(ref)
    assert generator.is_finished()
    with pytest.raises(StopIteration):
        next(generator)


def test_an_item_that_can_not_be_pickled(ray: Ray) -> None:
    import threading

    @ray.remote(max_retries=0)
    def produce() -> Any:
        yield 1
        yield threading.Lock()

    found = outcomes(ray, produce.remote())
    assert found[0] == 1
    assert len(found) == 2 and isinstance(found[1], str)


def test_wrong_arguments_are_refused_at_once(ray: Ray) -> None:
    with pytest.raises(TypeError):
        ray.remote(count_to).remote()


# ---- waiting -------------------------------------------------------------------------------------


def test_wait_on_generators_and_references(ray: Ray, gate: Gates) -> None:
    go = gate("go")

    @ray.remote
    def produce() -> Any:
        go.wait()
        yield 1

    generator, ref = produce.remote(), ray.put("there")
    assert ray.wait([generator, ref], timeout=120) == ([ref], [generator])
    assert ray.wait([generator], timeout=0.05) == ([], [generator])
    go.open()
    ready, others = ray.wait([generator, ref], num_returns=2, timeout=30, fetch_local=False)
    assert (ready, others) == ([generator, ref], [])
    assert ray.get(next(generator)) == 1
    assert ray.wait([generator], timeout=120)[0] == [generator]  # the end is ready too
    with pytest.raises(StopIteration):
        next(generator)


def test_wait_takes_one_item_after_the_other(ray: Ray) -> None:
    running = {ray.remote(count_to).remote(10): 10 * k for k in range(4)}
    found: list[int] = []
    while running:
        for generator in ray.wait(list(running), timeout=120)[0]:
            try:
                found.append(running[generator] + ray.get(next(generator)))
            except StopIteration:
                del running[generator]
    assert sorted(found) == list(range(40))


def test_wait_refuses_what_is_no_list_of_waitables(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(1)
    with pytest.raises(TypeError, match=r"expected a list"):
        ray.wait(generator)
    with pytest.raises(ValueError, match="unique"):
        ray.wait([generator, generator])


def test_get_of_a_generator_is_the_generator(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(1)
    assert ray.get(generator) is generator
    with pytest.raises(TypeError, match="not an"):
        ray.get([generator])
    assert values(ray, generator) == [0]


# ---- coroutines ----------------------------------------------------------------------------------


def test_async_iteration(ray: Ray) -> None:
    async def consume() -> list[Any]:
        return [await ref async for ref in ray.remote(count_to).remote(20)]

    assert asyncio.run(consume()) == list(range(20))


def test_async_iteration_of_several_at_once(ray: Ray) -> None:
    async def consume(n: int) -> int:
        return sum([await ref async for ref in ray.remote(count_to).remote(n)])

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(consume(n) for n in range(8)))

    assert asyncio.run(all_of_them()) == [n * (n - 1) // 2 for n in range(8)]


def test_async_iteration_waits_and_ends_with_the_error(ray: Ray, gate: Gates) -> None:
    go = gate("go")

    @ray.remote
    def produce() -> Any:
        yield 1
        go.wait()
        raise AppError(1, "end")

    async def consume() -> list[Any]:
        generator = produce.remote()
        found: list[Any] = [await (await generator.__anext__())]
        go.open()
        async for ref in generator:
            try:
                await ref
            except AppError as error:
                found.append(error.code)
        with pytest.raises(StopAsyncIteration):
            await generator.__anext__()
        return found

    assert asyncio.run(consume()) == [1, 1]


def test_next_async_with_a_timeout(ray: Ray, gate: Gates) -> None:
    go = gate("go")

    @ray.remote
    def produce() -> Any:
        go.wait()
        yield 1

    async def consume() -> Any:
        generator = produce.remote()
        assert (await generator._next_async(timeout_s=0.05)).is_nil()
        go.open()
        return await (await generator._next_async())

    assert asyncio.run(consume()) == 1


# ---- what is refused -----------------------------------------------------------------------------


def test_generators_are_not_pickled(ray: Ray) -> None:
    generator = ray.remote(count_to).remote(1)
    with pytest.raises(TypeError):
        pickle.dumps(generator)
    with pytest.raises(TypeError):
        ray.put(generator)
    with pytest.raises(TypeError):
        ray.remote(count_to).remote(generator)
    with pytest.raises(TypeError):
        copy.copy(generator)


@pytest.mark.parametrize("name", ["send", "throw", "close"])
def test_other_methods_of_generators(ray: Ray, name: str) -> None:
    generator = ray.remote(count_to).remote(1)
    arguments = () if name == "close" else (None,)
    with pytest.raises(NotImplementedError):
        getattr(generator, name)(*arguments)
    with pytest.raises(NotImplementedError):
        asyncio.run(getattr(generator, f"a{name}")(*arguments))


@pytest.mark.parametrize("kind", ["streaming", "dynamic"])
@pytest.mark.filterwarnings("ignore:num_returns")
def test_only_functions_that_yield_stream(ray: Ray, kind: str) -> None:
    def plain() -> list[int]:
        return [1, 2]

    with pytest.raises(ValueError, match="can only be used with generator functions"):
        ray.remote(num_returns=kind)(plain)
    with pytest.raises(ValueError, match="can only be used with generator functions"):
        ray.remote(plain).options(num_returns=kind)


# ---- dynamic -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:num_returns")
def test_dynamic_gives_one_reference_to_all(ray: Ray) -> None:
    remote = ray.remote(num_returns="dynamic")(count_to)
    ref = remote.remote(4)
    assert isinstance(ref, ray.ObjectRef)
    generator = ray.get(ref)
    assert isinstance(generator, ray.DynamicObjectRefGenerator)
    assert len(generator) == 4
    assert values(ray, generator) == [0, 1, 2, 3]
    assert len(generator) == 0
    assert values(ray, ray.get(ref)) == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:num_returns")
def test_dynamic_with_an_error_at_the_end(ray: Ray) -> None:
    @ray.remote(num_returns="dynamic", max_retries=0)
    def produce() -> Any:
        yield 1
        raise AppError(2, "dynamic")

    refs = list(ray.get(produce.remote()))
    assert ray.get(refs[0]) == 1
    assert len(refs) == 2
    with pytest.raises(AppError):
        ray.get(refs[1])


@pytest.mark.filterwarnings("ignore:num_returns")
def test_dynamic_goes_to_other_tasks(ray: Ray) -> None:
    @ray.remote
    def total(generator: Any) -> int:
        return sum(ray.get(ref) for ref in generator)

    assert ray.get(total.remote(ray.remote(num_returns="dynamic")(count_to).remote(5))) == 10


def test_dynamic_is_deprecated(ray: Ray) -> None:
    with pytest.warns(DeprecationWarning, match="dynamic"):
        ray.remote(num_returns="dynamic")(count_to)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fixed_number_of_returns(ray: Ray, count: int) -> None:
    refs = ray.remote(count_to).options(num_returns=count).remote(3)
    found = ray.get(refs if count > 1 else [refs])
    assert found == list(range(count))
