"""Functions: arguments, returns, nesting, options per call."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt

SIGNATURES: dict[str, Any] = {
    "defaults": (
        lambda a, b=2: (a, b),
        [((1,), {}), ((1, 3), {}), ((1,), {"b": 4}), ((), {"a": 5})],
    ),
    "star": (lambda *a, **k: (a, sorted(k.items())), [((), {}), ((1, 2), {"x": 3})]),
    "keyword only": (lambda a, *, b: (a, b), [((1,), {"b": 2}), ((), {"a": 1, "b": 3})]),
    "positional only": (eval("lambda a, /, b=1: (a, b)"), [((1,), {}), ((1, 2), {})]),
    "none": (lambda: "ran", [((), {})]),
}

WRONG: dict[str, Any] = {
    "too few": (lambda a, b: 0, (1,), {}),
    "too many": (lambda a: 0, (1, 2), {}),
    "unknown keyword": (lambda a: 0, (1,), {"z": 1}),
    "given twice": (lambda a: 0, (1,), {"a": 2}),
    "keyword only missing": (lambda *, b: 0, (), {}),
    "positional only by name": (eval("lambda a, /: 0"), (), {"a": 1}),
}


@program(each=SIGNATURES)
def arguments(ray: Ray, case: Any) -> Any:
    function, calls = case
    task = ray.remote(function)
    return [ray.get(task.remote(*args, **keywords)) for args, keywords in calls]


@program(each=WRONG)
def wrong_arguments(ray: Ray, case: Any) -> Any:
    function, args, keywords = case
    return attempt(lambda: ray.remote(function).remote(*args, **keywords))


@program
def direct_call(ray: Ray) -> Any:
    @ray.remote
    def task() -> None: ...

    return attempt(lambda: task())


@program(
    each={"number": 3, "text": "x", "instance": object()},
    differs="a TypeError that names the value, not an AssertionError",
)
def remote_of_something_else(ray: Ray, value: Any) -> Any:
    return attempt(lambda: ray.remote(value))


@program(differs="a TypeError that names every option, not an AssertionError")
def remote_with_nothing(ray: Ray) -> Any:
    return attempt(lambda: ray.remote())


@program
def coroutine_as_a_task(ray: Ray) -> Any:
    async def later() -> int:
        return 1

    return attempt(lambda: ray.remote(later), text=False)


@program
def remote_twice(ray: Ray) -> Any:
    return attempt(lambda: ray.remote(ray.remote(lambda: 1)), text=False)


@program
def partial(ray: Ray) -> Any:
    return attempt(lambda: ray.remote(functools.partial(pow, 2)), text=False)


@program(differs="a function of C is a function")
def builtin(ray: Ray) -> Any:
    return attempt(lambda: ray.get(ray.remote(len).remote([1, 2])), text=False)


@program
def wrapped_function(ray: Ray) -> Any:
    def twice(function: Any) -> Any:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            return function(*args) * 2

        return inner

    @ray.remote
    @twice
    def add(a: int, b: int) -> int:
        "Adds."
        return a + b

    return [ray.get(add.remote(1, 2)), add._function.__name__, add._function.__doc__]


@program(each={"0": 0, "1": 1, "2": 2, "5": 5})
def num_returns(ray: Ray, count: int) -> Any:
    refs = ray.remote(num_returns=count)(
        lambda: tuple(range(count)) if count != 1 else "one"
    ).remote()
    if count == 0:
        return refs
    return ray.get(refs)


@program(each={"short": (1,), "long": (1, 2, 3), "empty": (), "number": 5, "none": None})
def returns_that_do_not_fit(ray: Ray, result: Any) -> Any:
    refs = ray.remote(num_returns=2, max_retries=0)(lambda: result).remote()
    return [attempt(lambda ref=ref: ray.get(ref), text=False) for ref in refs]


@program(each={"list": [1, 2], "text": "ab", "dict": {"x": 1, "y": 2}, "bytes": b"ab"})
def returns_of_other_kinds(ray: Ray, result: Any) -> Any:
    return attempt(lambda: ray.get(ray.remote(num_returns=2)(lambda: result).remote()))


@program
def options_leave_the_original_alone(ray: Ray) -> Any:
    task = ray.remote(lambda: (1, 2))
    two = task.options(num_returns=2)
    return [ray.get(task.remote()), ray.get(two.remote()), ray.get(task.remote())]


@program
def options_of_options(ray: Ray) -> Any:
    task = ray.remote(num_returns=3)(lambda: (1, 2, 3))
    return attempt(lambda: ray.get(task.options(name="n").remote()))


@program
def references_are_resolved_at_the_top_only(ray: Ray) -> Any:
    @ray.remote
    def look(a: Any, b: Any, *, c: Any) -> Any:
        return [a, type(b[0]).__name__, type(c["k"]).__name__, ray.get(b[0]), ray.get(c["k"])]

    ref = ray.put("v")
    return ray.get(look.remote(ref, [ref], c={"k": ref}))


@program
def same_reference_many_times(ray: Ray) -> Any:
    ref = ray.put(2)
    return ray.get(ray.remote(lambda *a, **k: sum(a) + k["x"]).remote(ref, ref, ref, x=ref))


@program
def chain(ray: Ray) -> Any:
    @ray.remote
    def add(x: int) -> int:
        return x + 1

    ref = add.remote(0)
    for _ in range(50):
        ref = add.remote(ref)
    return ray.get(ref)


@program
def fan_out_and_in(ray: Ray) -> Any:
    square = ray.remote(lambda x: x * x)
    return ray.get(
        ray.remote(lambda *parts: sum(parts)).remote(*[square.remote(i) for i in range(40)])
    )


@program
def recursion(ray: Ray) -> Any:
    @ray.remote
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * int(ray.get(factorial.remote(n - 1)))

    return ray.get(factorial.remote(6))


@program
def mutual_recursion(ray: Ray) -> Any:
    @ray.remote
    def even(n: int) -> bool:
        return n == 0 or bool(ray.get(odd.remote(n - 1)))

    @ray.remote
    def odd(n: int) -> bool:
        return n != 0 and bool(ray.get(even.remote(n - 1)))

    return [ray.get(even.remote(4)), ray.get(even.remote(3))]


@program
def function_defined_in_a_task(ray: Ray) -> Any:
    @ray.remote
    def outer(x: int) -> int:
        @ray.remote
        def inner(y: int) -> int:
            return y * 10

        return int(ray.get(inner.remote(x))) + 1

    return ray.get(outer.remote(4))


@program
def reference_returned(ray: Ray) -> Any:
    @ray.remote
    def make() -> Any:
        return ray.put("inside")

    outer = ray.get(make.remote())
    return [type(outer).__name__, ray.get(outer)]


@program
def references_in_a_container_returned(ray: Ray) -> Any:
    @ray.remote
    def make() -> Any:
        return {"refs": [ray.put(i) for i in range(3)]}

    return ray.get(ray.get(make.remote())["refs"])


@program
def redefinition(ray: Ray) -> Any:
    results = []
    for k in range(3):

        @ray.remote
        def same(k: int = k) -> int:
            return k

        results.append(ray.get(same.remote()))
    return results


@program
def global_state_is_per_process(ray: Ray) -> Any:
    sys.modules["tests"].marked_here = True  # type: ignore[attr-defined]
    return ray.get(ray.remote(lambda: hasattr(sys.modules.get("tests"), "marked_here")).remote())


@program
def another_process(ray: Ray) -> Any:
    return ray.get(ray.remote(lambda: os.getpid()).remote()) != os.getpid()


@program
def names_and_repr(ray: Ray) -> Any:
    @ray.remote
    def named(a: int, b: str = "x") -> None:
        "What it does."

    return [named._function.__name__, named._function.__doc__, named._function(1)]


@program
def task_name_in_the_context(ray: Ray) -> Any:
    def who() -> Any:
        return ray.get_runtime_context().get_task_name()

    task = ray.remote(who)
    return ray.get([task.remote(), task.options(name="display").remote()])


@program
def none_and_no_result(ray: Ray) -> Any:
    return ray.get([ray.remote(lambda: None).remote(), ray.remote(lambda x: x).remote(None)])


@program
def unicode_names(ray: Ray) -> Any:
    @ray.remote
    def text(größe: str) -> str:
        return größe + " ✓"

    return ray.get(text.remote("ß"))


@program
def large_arguments_and_results(ray: Ray) -> Any:
    data = bytes(range(256)) * 4096
    back = ray.get(ray.remote(lambda x: x[::-1]).remote(data))
    return [len(back), back[:4], back == data[::-1]]


@program
def many_small_tasks(ray: Ray) -> Any:
    return sum(ray.get([ray.remote(lambda x: x).remote(i) for i in range(100)]))


@program
def remote_underscore_form(ray: Ray) -> Any:
    task = ray.remote(lambda a, b=0: (a, b))
    return [
        ray.get(task._remote(args=[1], kwargs={"b": 2})),
        ray.get(task._remote(args=(1,), kwargs={}, num_returns=2)),
    ]
