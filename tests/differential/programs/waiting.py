"""get, wait, time-outs, futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


def never(ray: Ray) -> Any:
    @ray.remote(num_cpus=0)
    def sleep() -> None:
        time.sleep(600)

    return sleep.remote()


def refs_of(ray: Ray, count: int) -> list[Any]:
    return [ray.put(i) for i in range(count)]


WRONG_REFS: dict[str, Any] = {
    "number": 3,
    "text": "x",
    "none": None,
    "list of numbers": [1, 2],
    "tuple": (),
    "dict": {},
    "set": set(),
}


@program(each=WRONG_REFS)
def get_of_something_else(ray: Ray, value: Any) -> Any:
    return attempt(lambda: ray.get(value))


@program(each=WRONG_REFS)
def wait_for_something_else(ray: Ray, value: Any) -> Any:
    return attempt(lambda: ray.wait(value), text=False)


@program
def get_of_a_tuple_of_references(ray: Ray) -> Any:
    return attempt(lambda: ray.get((ray.put(1), ray.put(2))))


@program
def get_of_an_empty_list(ray: Ray) -> Any:
    return ray.get([])


@program
def get_keeps_the_order(ray: Ray) -> Any:
    refs = refs_of(ray, 5)
    return ray.get([refs[3], refs[0], refs[3]])


@program(each={"zero": 0, "short": 0.05})
def get_times_out(ray: Ray, timeout: float) -> Any:
    ref = never(ray)
    outcome = attempt(lambda: ray.get(ref, timeout=timeout), text=False)
    ray.cancel(ref, force=True)
    return outcome


@program
def get_of_something_ready_with_no_time(ray: Ray) -> Any:
    return ray.get(ray.put(1), timeout=0)


NO_INTEGER = "a TypeError that says what num_returns must be"


@program(
    each={"zero": 0, "negative": -1, "too many": 4, "text": "1", "none": None, "float": 1.0},
    differs={"text": NO_INTEGER, "none": NO_INTEGER},
)
def wait_for_a_wrong_number(ray: Ray, count: Any) -> Any:
    refs = refs_of(ray, 3)
    return attempt(lambda: [len(part) for part in ray.wait(refs, num_returns=count, timeout=1)])


@program(each={"negative": -1, "text": "x"})
def wait_with_a_wrong_time(ray: Ray, timeout: Any) -> Any:
    return attempt(lambda: ray.wait(refs_of(ray, 1), timeout=timeout), text=False)


@program
def wait_for_the_same_twice(ray: Ray) -> Any:
    ref = ray.put(1)
    return attempt(lambda: ray.wait([ref, ref]))


@program
def wait_for_nothing(ray: Ray) -> Any:
    return attempt(lambda: ray.wait([]))


@program
def wait_splits_in_order(ray: Ray) -> Any:
    refs, slow = refs_of(ray, 4), never(ray)
    ready, pending = ray.wait([slow, *refs], num_returns=4, timeout=10)
    ray.cancel(slow, force=True)
    return [ray.get(ready), len(pending), pending == [slow]]


@program
def wait_returns_no_more_than_asked(ray: Ray) -> Any:
    refs = refs_of(ray, 4)
    ready, pending = ray.wait(refs, num_returns=2)
    return [ready == refs[:2], pending == refs[2:]]


@program
def wait_one_by_one(ray: Ray) -> Any:
    rest, seen = [ray.remote(lambda x: x).remote(i) for i in range(10)], []
    while rest:
        [done], rest = ray.wait(rest)
        seen.append(ray.get(done))
    return sorted(seen)


@program
def failed_task_is_ready(ray: Ray) -> Any:
    @ray.remote
    def fail() -> None:
        raise ValueError

    ready, pending = ray.wait([fail.remote()], timeout=120)
    return [len(ready), len(pending)]


@program
def wait_fetch_local_off(ray: Ray) -> Any:
    ready, pending = ray.wait(refs_of(ray, 2), num_returns=2, fetch_local=False)
    return [len(ready), len(pending)]


@program
def threads_get_at_once(ray: Ray) -> Any:
    refs, seen = refs_of(ray, 20), []
    threads = [threading.Thread(target=lambda r=r: seen.append(ray.get(r))) for r in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


@program
def future_of_a_reference(ray: Ray) -> Any:
    future = ray.remote(lambda: "later").remote().future()
    return [isinstance(future, concurrent.futures.Future), future.result(timeout=60)]


@program
def future_of_a_failure(ray: Ray) -> Any:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    return attempt(lambda: fail.remote().future().result(timeout=60))


@program
def awaited(ray: Ray) -> Any:
    async def main() -> Any:
        return [await ray.put(1), *await asyncio.gather(*refs_of(ray, 3))]

    return asyncio.run(main())


@program
def awaited_failure(ray: Ray) -> Any:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    async def main() -> Any:
        return await fail.remote()

    return attempt(lambda: asyncio.run(main()))


@program
def awaited_with_a_time_out(ray: Ray) -> Any:
    ref = never(ray)

    async def main() -> Any:
        return await asyncio.wait_for(ref, timeout=0.1)

    outcome = attempt(lambda: asyncio.run(main()), text=False)
    ray.cancel(ref, force=True)
    return outcome


@program
def put_of_a_reference(ray: Ray) -> Any:
    return attempt(lambda: ray.put(ray.put(1)))


@program
def put_of_references_in_a_list(ray: Ray) -> Any:
    return ray.get(ray.get(ray.put([ray.put(1)]))[0])


@program
def reference_as_a_key(ray: Ray) -> Any:
    first, second = refs_of(ray, 2)
    table = {first: "a", second: "b"}
    return [table[first], first == first, first == second, first != second, len({first, second})]


@program
def reference_ids(ray: Ray) -> Any:
    ref = ray.put(1)
    return [
        len(ref.hex()),
        len(ref.binary()),
        ref.is_nil(),
        type(ref).__name__,
        len(ref.task_id().hex()),
        len(ref.job_id().hex()),
        ref.hex() == ref.binary().hex(),
    ]


@program
def reference_from_binary(ray: Ray) -> Any:
    ref = ray.put(1)
    return ray.ObjectRef(ref.binary()) == ref


@program
def blocked_tasks_give_their_cpu_back(ray: Ray) -> Any:
    @ray.remote
    def inner(x: int) -> int:
        return x + 1

    @ray.remote
    def outer(x: int) -> int:
        return int(ray.get(inner.remote(x)))

    return ray.get([outer.remote(i) for i in range(12)])


@program
def cancelled_before_it_ran(ray: Ray) -> Any:
    import tempfile
    from pathlib import Path

    gate = Path(tempfile.mkdtemp()) / "gate"

    @ray.remote(num_cpus=0)
    def block() -> None:
        while not gate.exists():
            time.sleep(0.02)

    ref = ray.remote(lambda x: x).remote(block.remote())
    ray.cancel(ref)
    outcome = attempt(lambda: ray.get(ref, timeout=60), text=False)
    gate.touch()
    return outcome


@program(
    each={"soft": False, "force": True},
    differs={"soft": "TaskCancelledError alone, whenever the cancellation came"},
)
def cancelled_while_it_ran(ray: Ray, force: bool) -> Any:
    import tempfile
    from pathlib import Path

    mark = Path(tempfile.mkdtemp()) / "started"

    @ray.remote(max_retries=0)
    def run() -> None:
        mark.touch()
        while True:
            time.sleep(0.05)

    ref = run.remote()
    while not mark.exists():
        time.sleep(0.01)
    ray.cancel(ref, force=force)
    return attempt(lambda: ray.get(ref, timeout=60), text=False)


@program
def cancel_of_a_finished_task(ray: Ray) -> Any:
    ref = ray.remote(lambda: 5).remote()
    value = ray.get(ref)
    return [value, attempt(lambda: ray.cancel(ref)), ray.get(ref)]


@program(each={"number": 3, "text": "x", "none": None})
def cancel_of_something_else(ray: Ray, value: Any) -> Any:
    return attempt(lambda: ray.cancel(value))
