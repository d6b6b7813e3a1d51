"""Graphs by bind(): functions, actors, inputs, several outputs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt


def add(x: int, y: int = 1) -> int:
    return x + y


class Adder:
    def __init__(self, n: int = 0) -> None:
        self.n = n

    def add(self, x: int) -> int:
        self.n += x
        return self.n


def inputs(ray: Ray) -> Any:
    return import_module(f"{ray.__name__}.dag")


@program
def functions(ray: Ray) -> Any:
    f = ray.remote(add)
    node = f.bind(f.bind(1), y=f.bind(2, 3))
    return [ray.get(node.execute()), ray.get(node.execute())]


@program(each={"one": (4,), "none": (), "two": (1, 2)})
def input_of_a_graph(ray: Ray, arguments: Any) -> Any:
    with inputs(ray).InputNode() as given:
        node = ray.remote(add).bind(given, 3)
    return attempt(lambda: ray.get(node.execute(*arguments)), text=False)


@program
def parts_of_the_input(ray: Ray) -> Any:
    f = ray.remote(add)
    with inputs(ray).InputNode() as given:
        by_index, by_name = f.bind(given[0], given[1]), f.bind(given.a, y=given.b)
    values = [ray.get(by_index.execute(4, 5)), ray.get(by_name.execute(a=1, b=2))]
    return [values, attempt(lambda: ray.get(by_name.execute(a=1)), text=False)]


@program
def actors(ray: Ray) -> Any:
    node = ray.remote(Adder).bind(10).add.bind(1)
    living = ray.remote(Adder).remote(5).add.bind(2)
    return [ray.get(found.execute()) for found in (node, node, living, living)]


@program
def several_outputs(ray: Ray) -> Any:
    dag = inputs(ray)
    with dag.InputNode() as given:
        f = ray.remote(add)
        node = dag.MultiOutputNode([f.bind(given), f.bind(given, 5)])
    return ray.get(node.execute(3))


@program
def wrong_arguments(ray: Ray) -> Any:
    f, actor = ray.remote(add), ray.remote(Adder)
    calls = (
        lambda: f.bind(),
        lambda: ray.get(f.bind(1, 2, 3).execute()),
        lambda: actor.bind(1, 2, 3).add.bind(1).execute(),
        lambda: actor.bind().nonsense.bind(1),
    )
    return [attempt(call, text=False) for call in calls]


@program
def what_a_node_tells(ray: Ray) -> Any:
    node = ray.remote(add).options(num_cpus=1).bind(1, y=2)
    kinds = (node, ray.remote(Adder).bind(), ray.remote(Adder).bind().add.bind(1))
    return [
        node.get_args(),
        node.get_kwargs(),
        node.get_options(),
        [type(kind).__name__ for kind in kinds],
        node.apply_recursive(lambda found: type(found).__name__),
    ]
