"""References under a running event loop in the driver."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .helpers import Ray


def test_gather_keeps_the_order(ray: Ray) -> None:
    async def main() -> list[int]:
        task = ray.remote(lambda i: i * 2)
        return list(await asyncio.gather(*[task.remote(i) for i in range(10)]))

    assert asyncio.run(main()) == [i * 2 for i in range(10)]


def test_asyncio_wait_on_futures_of_references(ray: Ray) -> None:
    async def main() -> set[int]:
        refs = [ray.remote(lambda i=i: i).remote() for i in range(5)]
        done, pending = await asyncio.wait([asyncio.wrap_future(r.future()) for r in refs])
        assert not pending
        return {item.result() for item in done}

    assert asyncio.run(main()) == set(range(5))


def test_wait_for_times_out_and_the_work_goes_on(ray: Ray, gate: Any) -> None:
    door = gate("door")

    async def main() -> str:
        ref = ray.remote(lambda: door.wait() or "finished").remote()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(ref.future()), timeout=0.05)
        door.open()
        return str(await ref)

    assert asyncio.run(main()) == "finished"


def test_loop_stays_responsive_while_waiting(ray: Ray, gate: Any) -> None:
    door = gate("door")

    async def open_later() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        door.open()

    async def main() -> None:
        ref = ray.remote(lambda: door.wait()).remote()
        await asyncio.gather(ref, open_later())

    asyncio.run(main())


def test_error_arrives_at_the_await(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("awaited")

    async def main() -> None:
        with pytest.raises(KeyError):
            await fail.remote()

    asyncio.run(main())


def test_gather_with_return_exceptions(ray: Ray) -> None:
    @ray.remote
    def maybe(i: int) -> int:
        if i == 1:
            raise ValueError(i)
        return i

    async def main() -> list[Any]:
        return list(
            await asyncio.gather(*[maybe.remote(i) for i in range(3)], return_exceptions=True)
        )

    zero, one, two = asyncio.run(main())
    assert (zero, two) == (0, 2)
    assert isinstance(one, ValueError)


def test_await_of_a_put_and_of_finished_work(ray: Ray) -> None:
    async def main() -> tuple[Any, Any]:
        done = ray.remote(lambda: 1).remote()
        ray.wait([done])
        return await ray.put("p"), await done

    assert asyncio.run(main()) == ("p", 1)


def test_await_of_a_large_value(ray: Ray) -> None:
    async def main() -> int:
        return len(await ray.remote(lambda: b"x" * 2_000_000).remote())

    assert asyncio.run(main()) == 2_000_000


def test_await_of_actor_calls(ray: Ray) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    async def main() -> list[int]:
        counter = Counter.remote()
        return [await counter.add.remote() for _ in range(5)]

    assert asyncio.run(main()) == [1, 2, 3, 4, 5]


def test_get_in_an_executor_thread(ray: Ray) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        ref = ray.remote(lambda: 6).remote()
        return int(await loop.run_in_executor(None, ray.get, ref))

    assert asyncio.run(main()) == 6


def test_blocking_get_in_a_coroutine_works(ray: Ray) -> None:
    async def main() -> int:
        return int(ray.get(ray.put(2)))

    assert asyncio.run(main()) == 2


def test_two_loops_one_after_the_other(ray: Ray) -> None:
    async def main(ref: Any) -> Any:
        return await ref

    ref = ray.put("both")
    assert [asyncio.run(main(ref)), asyncio.run(main(ref))] == ["both", "both"]


def test_asyncio_future_from_a_reference(ray: Ray) -> None:
    async def main() -> Any:
        future = ray.put(9).as_future()
        assert asyncio.isfuture(future)
        return await future

    assert asyncio.run(main()) == 9


def test_as_completed_over_references(ray: Ray) -> None:
    async def main() -> set[int]:
        refs = [ray.remote(lambda i=i: i).remote() for i in range(4)]
        return {await item for item in asyncio.as_completed([r.as_future() for r in refs])}

    assert asyncio.run(main()) == {0, 1, 2, 3}
