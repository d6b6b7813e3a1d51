"""Values that cannot be pickled are refused with a text that helps."""

from __future__ import annotations

import pickle
import socket
import threading
from typing import Any

import pytest

from .helpers import Ray


class Culprit:
    """Holds something that cannot travel, under a name of its own."""

    def __init__(self) -> None:
        self.fine = 1
        self.the_lock_inside = threading.Lock()


class RaisesInReduce:
    def __reduce__(self) -> Any:
        raise RuntimeError("refuses to be pickled")


class RaisesInRebuild:
    def __reduce__(self) -> Any:
        return broken_rebuild, ()


def broken_rebuild() -> None:
    raise RuntimeError("refuses to be rebuilt")


def test_put_of_a_lock_is_a_type_error(ray: Ray) -> None:
    with pytest.raises(TypeError, match=r"Could not serialize the put value(?s:.)*lock"):
        ray.put(threading.Lock())


def test_argument_fails_in_the_caller(ray: Ray) -> None:
    task = ray.remote(lambda value: value)
    with pytest.raises(TypeError, match="lock"):
        task.remote(threading.Lock())


def test_nested_argument_fails_in_the_caller(ray: Ray) -> None:
    task = ray.remote(lambda value: value)
    with pytest.raises(TypeError, match="lock"):
        task.remote({"deep": [Culprit()]})


def test_text_names_the_attribute(ray: Ray) -> None:
    with pytest.raises(TypeError, match="the_lock_inside"):
        ray.remote(lambda value: value).remote(Culprit())


def test_actor_argument_fails_in_the_caller(ray: Ray) -> None:
    class Keeper:
        def __init__(self, value: Any = None) -> None:
            self.value = value

        def keep(self, value: Any) -> int:
            return 1

    with pytest.raises(TypeError):
        ray.remote(Keeper).remote(threading.Lock())
    keeper = ray.remote(Keeper).remote()
    with pytest.raises(TypeError):
        keeper.keep.remote(threading.Lock())
    assert ray.get(keeper.keep.remote(2)) == 1


def test_closure_fails_at_the_first_call(ray: Ray) -> None:
    lock = threading.Lock()
    task = ray.remote(lambda: lock.locked())
    with pytest.raises(TypeError):
        task.remote()


def test_closure_error_names_the_variable(ray: Ray) -> None:
    captured_lock = threading.Lock()
    with pytest.raises(TypeError, match="captured_lock"):
        ray.remote(lambda: captured_lock.locked()).remote()


def test_actor_class_that_captures_fails_at_creation(ray: Ray) -> None:
    lock = threading.Lock()

    @ray.remote
    class Keeper:
        def locked(self) -> bool:
            return lock.locked()

    with pytest.raises(TypeError):
        Keeper.remote()


def test_result_that_cannot_travel_fails_the_task(ray: Ray) -> None:
    ref = ray.remote(max_retries=0)(lambda: threading.Lock()).remote()
    with pytest.raises(ray.exceptions.RayTaskError, match="lock"):
        ray.get(ref)
    with pytest.raises(TypeError):
        ray.get(ref)


def test_one_bad_result_of_several(ray: Ray) -> None:
    refs = ray.remote(max_retries=0, num_returns=2)(lambda: (1, threading.Lock())).remote()
    with pytest.raises(TypeError):
        ray.get(refs[1])


def test_result_of_an_actor_that_cannot_travel(ray: Ray) -> None:
    @ray.remote
    class Source:
        def bad(self) -> Any:
            return threading.Lock()

        def good(self) -> int:
            return 1

    source = Source.remote()
    with pytest.raises(TypeError):
        ray.get(source.bad.remote())
    assert ray.get(source.good.remote()) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: (i for i in range(3)),
        lambda: socket.socket(),
        lambda: threading.current_thread(),
    ],
    ids=["generator", "socket", "thread"],
)
def test_kinds_that_never_travel(ray: Ray, make: Any) -> None:
    value = make()
    with pytest.raises((TypeError, pickle.PicklingError)):
        ray.put(value)
    if hasattr(value, "close"):
        value.close()


def test_error_raised_by_a_reducer_reaches_the_caller(ray: Ray) -> None:
    with pytest.raises(RuntimeError, match="refuses to be pickled"):
        ray.put(RaisesInReduce())


def test_error_while_rebuilding_an_argument_fails_the_task(ray: Ray) -> None:
    ref = ray.remote(max_retries=0)(lambda value: value).remote(RaisesInRebuild())
    with pytest.raises(ray.exceptions.RayError, match="refuses to be rebuilt"):
        ray.get(ref)


def test_error_while_rebuilding_a_result_is_raised_by_get(ray: Ray) -> None:
    ref = ray.put(RaisesInRebuild())
    with pytest.raises(Exception, match="refuses to be rebuilt"):
        ray.get(ref)


def test_class_missing_in_the_worker_fails_the_task(ray: Ray) -> None:
    import sys
    import types

    module = types.ModuleType("compat_only_in_driver")
    exec("class Thing:\n    pass", module.__dict__)
    sys.modules[module.__name__] = module
    try:
        ref = ray.remote(max_retries=0)(lambda value: value).remote(module.Thing())
        with pytest.raises(ray.exceptions.RayError, match="compat_only_in_driver"):
            ray.get(ref)
    finally:
        del sys.modules[module.__name__]


def test_work_goes_on_after_refused_values(ray: Ray) -> None:
    task = ray.remote(lambda value: value)
    for _ in range(20):
        with pytest.raises(TypeError):
            task.remote(threading.Lock())
    assert ray.get([task.remote(i) for i in range(5)]) == list(range(5))


def test_inspect_serializability_finds_the_culprit(ray: Ray) -> None:
    fine, failures = ray.util.inspect_serializability(Culprit(), name="value")
    assert fine is False
    assert "the_lock_inside" in str(failures)
    assert ray.util.inspect_serializability([1, 2], name="fine")[0] is True


@pytest.mark.ray_differs("Ray's text is another")
def test_position_of_an_argument_counts_from_the_callers_side(ray: Ray) -> None:
    @ray.remote
    class Actor:
        def __init__(self, *values: Any) -> None:
            pass

    task = ray.remote(lambda *values: None)
    for call in (Actor.remote, task.remote):
        with pytest.raises(TypeError, match=r"argument at position 1 .*lock"):
            call(0, threading.Lock())


@pytest.mark.ray_differs("Ray's text is another")
def test_what_every_class_has_is_no_culprit(ray: Ray, capsys: pytest.CaptureFixture[str]) -> None:
    class Holder:
        lock = threading.Lock()

    ray.util.inspect_serializability(Holder)
    text = capsys.readouterr().out
    assert "'lock'" in text
    assert "__weakref__" not in text
    assert "__dict__" not in text
