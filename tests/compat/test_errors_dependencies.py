"""A failed argument fails the task that needs it, without running it."""

from __future__ import annotations

from typing import Any

import pytest

from .helpers import Journal, Ray


def failing(ray: Ray, text: str = "upstream broke") -> Any:
    @ray.remote(max_retries=0)
    def upstream() -> None:
        raise KeyError(text)

    return upstream.remote()


def test_dependent_fails_with_the_error_of_its_argument(ray: Ray) -> None:
    with pytest.raises(KeyError, match="upstream broke"):
        ray.get(ray.remote(lambda x: x).remote(failing(ray)))


def test_dependent_does_not_run(ray: Ray, journal: Journal) -> None:
    ref = ray.remote(lambda x: journal.add("ran")).remote(failing(ray))
    with pytest.raises(KeyError):
        ray.get(ref)
    assert journal.lines() == []


def test_text_names_both_tasks_and_explains(ray: Ray) -> None:
    @ray.remote
    def downstream(x: Any) -> Any:
        return x

    with pytest.raises(ray.exceptions.RayTaskError) as info:
        ray.get(downstream.remote(failing(ray)))
    text = str(info.value)
    assert "At least one of the input arguments for this task could not be computed" in text
    assert "ray::downstream()" in text
    assert "ray::upstream()" in text
    assert "upstream broke" in text


def test_failure_travels_along_a_chain(ray: Ray) -> None:
    ref = failing(ray)
    for _ in range(5):
        ref = ray.remote(lambda x: x).remote(ref)
    with pytest.raises(KeyError):
        ray.get(ref)


@pytest.mark.ray_differs("each error holds the texts of all before it: a chain costs its square")
def test_the_text_of_a_long_chain_leaves_out_its_middle(ray: Ray) -> None:
    @ray.remote
    def downstream(x: Any) -> Any:
        return x

    ref = failing(ray)
    for _ in range(2000):
        ref = downstream.remote(ref)
    with pytest.raises(KeyError) as info:
        ray.get(ref)
    lines = str(info.value).splitlines()
    assert len(lines) < 60
    shown = sum("ray::downstream()" in line for line in lines)
    assert f"({2000 - shown} more tasks)" in lines
    assert "ray::upstream()" in str(info.value) and "upstream broke" in lines[-1]


def test_failure_among_many_arguments(ray: Ray) -> None:
    refs = [ray.put(i) for i in range(5)]
    refs.insert(3, failing(ray))
    with pytest.raises(KeyError):
        ray.get(ray.remote(lambda *values: values).remote(*refs))


def test_failure_of_a_keyword_argument(ray: Ray) -> None:
    with pytest.raises(KeyError):
        ray.get(ray.remote(lambda *, key: key).remote(key=failing(ray)))


def test_nested_failed_reference_does_not_fail_the_task(ray: Ray) -> None:
    @ray.remote
    def look(box: list[Any]) -> str:
        try:
            ray.get(box[0])
        except KeyError:
            return "handled"
        return "missed"

    assert ray.get(look.remote([failing(ray)])) == "handled"


def test_failure_fans_out(ray: Ray) -> None:
    source = failing(ray)
    for ref in [ray.remote(lambda x: x).remote(source) for _ in range(10)]:
        with pytest.raises(KeyError):
            ray.get(ref)


def test_failure_reaches_every_return_of_the_dependent(ray: Ray) -> None:
    for ref in ray.remote(num_returns=2)(lambda x: (x, x)).remote(failing(ray)):
        with pytest.raises(KeyError):
            ray.get(ref)


def test_two_failed_arguments_give_one_of_the_errors(ray: Ray) -> None:
    task = ray.remote(lambda a, b: (a, b))
    with pytest.raises(KeyError, match=r"first|second"):
        ray.get(task.remote(failing(ray, "first"), failing(ray, "second")))


def test_failure_before_others_arguments_are_ready(ray: Ray, gate: Any) -> None:
    door = gate("door")
    pending = ray.remote(num_cpus=0)(lambda: door.wait()).remote()
    ref = ray.remote(lambda a, b: (a, b)).remote(failing(ray), pending)
    door.open()
    with pytest.raises(KeyError):
        ray.get(ref)
    ray.get(pending)


def test_dependent_of_a_failed_actor_method(ray: Ray) -> None:
    @ray.remote
    class Failing:
        def method(self) -> None:
            raise KeyError("method broke")

    with pytest.raises(KeyError, match="method broke"):
        ray.get(ray.remote(lambda x: x).remote(Failing.remote().method.remote()))


def test_resources_are_free_after_a_failed_dependency(ray: Ray) -> None:
    refs = [ray.remote(num_cpus=2)(lambda x: x).remote(failing(ray)) for _ in range(5)]
    for ref in refs:
        with pytest.raises(KeyError):
            ray.get(ref)
    assert ray.get(ray.remote(num_cpus=2)(lambda: "free").remote()) == "free"
