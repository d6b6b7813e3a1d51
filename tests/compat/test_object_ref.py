"""The reference itself: identity, text forms, futures, callbacks, pickling."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from .helpers import Gate, Ray, wait_until


def test_equal_and_hash_by_identity_of_the_object(ray: Ray) -> None:
    ref, other = ray.put(1), ray.put(1)
    again = ray.get(ray.put([ref]))[0]
    assert ref == again
    assert hash(ref) == hash(again)
    assert ref != other
    assert len({ref, again, other}) == 2


def test_reference_is_not_equal_to_other_types(ray: Ray) -> None:
    ref = ray.put(1)
    assert ref != 1
    assert ref != ref.hex()
    assert (ref == None) is False  # noqa: E711


def test_a_reference_from_its_bytes(ray: Ray) -> None:
    ref = ray.put(3)
    for again in (ray.ObjectRef(ref.binary()), ray.ObjectRef.from_binary(ref.binary())):
        assert again == ref and ray.get(again) == 3


def test_hex_is_the_text_of_binary(ray: Ray) -> None:
    ref = ray.put(1)
    assert isinstance(ref.binary(), bytes)
    assert ref.hex() == ref.binary().hex()
    assert len(ref.binary()) == ref.size()
    assert type(ref).from_binary(ref.binary()) == ref


def test_hex_differs_between_objects(ray: Ray) -> None:
    assert len({ray.put(1).hex() for _ in range(50)}) == 50


def test_repr_shows_the_hex(ray: Ray) -> None:
    ref = ray.put(1)
    assert repr(ref) == f"ObjectRef({ref.hex()})"


def test_reference_is_never_nil(ray: Ray) -> None:
    assert ray.put(1).is_nil() is False
    assert ray.ObjectRef.nil().is_nil() is True


def test_reference_names_its_task_and_job(ray: Ray) -> None:
    ref = ray.remote(lambda: ray.get_runtime_context().get_task_id()).remote()
    assert ref.task_id().hex() == ray.get(ref)
    assert ref.job_id().hex() == ray.get_runtime_context().get_job_id()


def test_all_returns_of_a_task_name_one_task(ray: Ray) -> None:
    refs = ray.remote(num_returns=3)(lambda: range(3)).remote()
    assert len({ref.task_id() for ref in refs}) == 1
    ray.get(refs)


def test_object_ref_has_its_older_name(ray: Ray) -> None:
    assert ray.ObjectID is ray.ObjectRef


def test_reference_can_be_annotated_with_the_type_of_its_value(ray: Ray) -> None:
    assert ray.ObjectRef[int] is not None


def test_future_of_a_result(ray: Ray, gate: Any) -> None:
    door = gate("door")
    future = ray.remote(lambda: door.wait() or "late").remote().future()
    assert isinstance(future, concurrent.futures.Future)
    assert not future.done()
    door.open()
    assert future.result(timeout=120) == "late"


def test_future_of_a_put(ray: Ray) -> None:
    assert ray.put(3).future().result(timeout=120) == 3


def test_future_of_an_error(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("in future")

    future = fail.remote().future()
    assert isinstance(future.exception(timeout=120), KeyError)
    with pytest.raises(ray.exceptions.RayTaskError):
        future.result(timeout=120)


def test_futures_in_as_completed(ray: Ray) -> None:
    futures = [ray.remote(lambda i=i: i).remote().future() for i in range(5)]
    done = concurrent.futures.as_completed(futures, timeout=120)
    assert sorted(future.result() for future in done) == list(range(5))


def test_callback_gets_the_value(ray: Ray, gate: Any) -> None:
    door = gate("door")
    got: list[Any] = []
    ref = ray.remote(lambda: door.wait() or 11).remote()
    ref._on_completed(got.append)
    assert got == []
    door.open()
    wait_until(lambda: got)
    assert got == [11]


def test_callback_on_finished_work(ray: Ray) -> None:
    ref = ray.remote(lambda: 5).remote()
    ray.get(ref)
    got: list[Any] = []
    ref._on_completed(got.append)
    wait_until(lambda: got)
    assert got == [5]


def test_several_callbacks_run_once_each(ray: Ray) -> None:
    got: list[Any] = []
    ref = ray.remote(lambda: 5).remote()
    for i in range(3):
        ref._on_completed(lambda value, i=i: got.append((i, value)))
    wait_until(lambda: len(got) == 3)
    assert sorted(got) == [(0, 5), (1, 5), (2, 5)]


def test_callback_gets_the_error(ray: Ray) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("cb")

    got: list[Any] = []
    fail.remote()._on_completed(got.append)
    wait_until(lambda: got)
    assert isinstance(got[0], ray.exceptions.RayTaskError)
    assert isinstance(got[0].as_instanceof_cause(), KeyError)


def test_callback_runs_outside_the_submitting_call(ray: Ray) -> None:
    threads: list[int] = []
    ray.remote(lambda: 1).remote()._on_completed(lambda _: threads.append(threading.get_ident()))
    wait_until(lambda: threads)
    assert threads[0] != threading.get_ident()


def test_await_of_a_reference(ray: Ray) -> None:
    async def main() -> int:
        return int(await ray.remote(lambda: 8).remote())

    assert asyncio.run(main()) == 8


def test_await_twice(ray: Ray) -> None:
    async def main() -> list[int]:
        ref = ray.put(8)
        return [await ref, await ref]

    assert asyncio.run(main()) == [8, 8]


def test_copies_are_the_same_reference(ray: Ray) -> None:
    ref = ray.put("copied")
    assert copy.copy(ref) == ref
    assert copy.deepcopy([ref])[0] == ref
    assert ray.get(copy.deepcopy(ref)) == "copied"


def test_reference_pickled_by_the_program_itself(ray: Ray) -> None:
    ref = ray.put("outside")
    data = ray.cloudpickle.dumps(ref)
    assert ray.get(pickle.loads(data)) == "outside"


def test_pickling_by_the_program_itself_can_be_forbidden(run_script: Any) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        ref = ray.put("inside")
        try:
            ray.cloudpickle.dumps(ref)
        except ray.exceptions.OufOfBandObjectRefSerializationException as error:
            assert "not allowed to serialize ray.ObjectRef " + ref.hex() in str(error)
            print("refused")
        print(ray.get(ray.remote(lambda refs: ray.get(refs[0])).remote([ref])))
        """,
        RAY_allow_out_of_band_object_ref_serialization="0",
    )
    assert "refused\n" in output
    assert "inside\n" in output


def test_pickle_keeps_the_object_alive(ray: Ray) -> None:
    data = ray.cloudpickle.dumps([ray.put(b"only in the pickle" * 10_000)])
    assert len(ray.get(pickle.loads(data)[0])) == 180_000


def test_bytes_of_a_pickle_work_in_a_task(ray: Ray) -> None:
    data = ray.cloudpickle.dumps({"ref": ray.put(21)})
    task = ray.remote(lambda d: ray.get(pickle.loads(d)["ref"]))
    assert ray.get(task.remote(data)) == 21


def test_references_cannot_be_ordered_or_called(ray: Ray) -> None:
    ref = ray.put(1)
    with pytest.raises(TypeError):
        ref()
    with pytest.raises(TypeError):
        iter(ref).__next__()


def test_told_of_readiness_without_the_value(ray: Ray, gate: Callable[[], Gate]) -> None:
    opened = gate()

    @ray.remote
    def wait() -> int:
        opened.wait()
        return 1

    ref, other = wait.remote(), wait.remote()
    got: list[Any] = []
    cancelled: list[Any] = []
    ref._on_ready(got.append)
    other._on_ready(cancelled.append)()
    wait_until(lambda: len(cancelled) == 1)
    assert isinstance(cancelled[0], ray.exceptions.RaySystemError) and got == []
    opened.open()
    assert ray.get([ref, other]) == [1, 1]
    wait_until(lambda: got == [None])
    again: list[Any] = []
    ref._on_ready(again.append)
    wait_until(lambda: again == [None])
    assert len(cancelled) == 1


def test_waiting_for_readiness_in_a_coroutine(ray: Ray) -> None:
    async def main() -> bool:
        ref = ray.remote(lambda: 1).remote()
        return await ref._ready() is ref and await ref == 1

    assert asyncio.run(main())
