"""Graphs of tasks and actor calls: bind, execute, inputs and outputs."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from .helpers import Journal, Ray

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def get(self) -> int:
        return self.value

    def echo(self, *args: Any, **named: Any) -> Any:
        return args[0] if len(args) == 1 else args

    def pair(self) -> tuple[int, int]:
        return self.value, self.value + 1

    def fail(self, _: Any = None) -> None:
        raise KeyError("no")


@dataclass
class Box:
    inside: Any
    other: int = 0


@pytest.fixture
def dag(part: Callable[[str], Any]) -> Any:
    return part("dag")


@pytest.fixture
def add(ray: Ray) -> Any:
    @ray.remote
    def add(a: int, b: int = 1) -> int:
        return a + b

    return add


# ---- functions -----------------------------------------------------------------------------------


def test_a_function(ray: Ray, dag: Any, add: Any) -> None:
    node = add.bind(1, b=2)
    assert isinstance(node, dag.FunctionNode) and isinstance(node, dag.DAGNode)
    ref = node.execute()
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == 3
    assert ray.get(node.execute()) == 3


def test_functions_of_functions(ray: Ray, add: Any) -> None:
    graph = add.bind(add.bind(1, 2), add.bind(b=3, a=4))
    assert ray.get(graph.execute()) == 10


def test_nothing_runs_at_bind(ray: Ray, journal: Journal) -> None:
    note = ray.remote(lambda text: journal.add(text))
    node = note.bind("ran")
    assert journal.lines() == []
    ray.get(node.execute())
    assert journal.lines() == ["ran"]


def test_a_shared_node_runs_once_per_execute(ray: Ray, add: Any, journal: Journal) -> None:
    shared = ray.remote(lambda text: journal.add(text)).bind("x")
    graph = add.bind(add.bind(shared), add.bind(shared))
    assert ray.get(graph.execute()) == 4
    assert journal.lines() == ["x"]
    ray.get(graph.execute())
    assert journal.lines() == ["x", "x"]


def test_nodes_in_containers_arrive_as_references(ray: Ray, add: Any) -> None:
    @ray.remote
    def total(refs: list[Any], named: dict[str, Any]) -> int:
        return sum(ray.get(refs)) + ray.get(named["z"][0])

    graph = total.bind([add.bind(1), add.bind(2)], {"z": (add.bind(3),)})
    assert ray.get(graph.execute()) == 9


def test_nodes_in_objects(ray: Ray, add: Any) -> None:
    @ray.remote
    def unbox(box: Box) -> int:
        return int(ray.get(box.inside)) + box.other

    box = Box(add.bind(1), 40)
    assert ray.get(unbox.bind(box).execute()) == 42
    assert ray.get(unbox.bind(box).execute()) == 42


def test_refs_and_large_values_as_arguments(ray: Ray, add: Any) -> None:
    assert ray.get(add.bind(ray.put(20), 1).execute()) == 21

    @ray.remote
    def length(data: bytes) -> int:
        return len(data)

    assert ray.get(length.bind(b"x" * 1_000_000).execute()) == 1_000_000


def test_options(ray: Ray) -> None:
    @ray.remote
    def name() -> str:
        return str(ray.get_runtime_context().get_task_name())

    node = name.options(name="other", num_cpus=0).bind()
    assert ray.get(node.execute()) == "other"
    assert node.get_options()["name"] == "other"
    assert ray.get(name.bind().execute()) != "other"


def test_options_of_the_decorator(ray: Ray) -> None:
    @ray.remote(num_returns=2)
    def two() -> tuple[int, int]:
        return 1, 2

    assert ray.get(two.bind().execute()) == [1, 2]


def test_an_error_reaches_the_end(ray: Ray, add: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        ray.get(add.bind(add.bind(fail.bind())).execute())


def test_wrong_arguments_are_refused_when_it_runs(ray: Ray, add: Any) -> None:
    node = add.bind(1, 2, 3)
    with pytest.raises(TypeError):
        node.execute()


def test_a_long_chain(ray: Ray, add: Any) -> None:
    node = add.bind(0)
    for _ in range(60):
        node = add.bind(node)
    assert ray.get(node.execute()) == 61


# ---- what a node tells and refuses ---------------------------------------------------------------


def test_accessors(add: Any) -> None:
    inner = add.bind(1)
    node = add.options(num_cpus=0).bind(inner, b=2)
    assert tuple(node.get_args()) == (inner,)
    assert node.get_kwargs() == {"b": 2}
    assert node.get_options()["num_cpus"] == 0
    assert node.get_other_args_to_resolve() == {}
    assert node.get_stable_uuid() != inner.get_stable_uuid()
    node.get_kwargs()["b"] = 3
    assert node.get_kwargs() == {"b": 2}


def test_text_names_the_node(add: Any) -> None:
    node = add.bind(1)
    assert "FunctionNode" in str(node)
    assert node.get_stable_uuid() in str(node)


def test_remote_and_bind_of_a_node_are_refused(ray: Ray, add: Any) -> None:
    for node in (add.bind(1), ray.remote(Counter).bind()):
        with pytest.raises(AttributeError, match="bind"):
            node.bind(1)
    with pytest.raises(AttributeError, match="remote"):
        add.bind(1).remote()
    with pytest.raises(AttributeError, match="remote"):
        ray.remote(Counter).bind().add.remote()
    with pytest.raises(AttributeError):
        _ = ray.remote(Counter).bind().nothing


def test_apply_recursive(add: Any) -> None:
    graph = add.bind(add.bind(1), b=add.bind(2))
    seen = []

    def visit(node: Any) -> Any:
        seen.append(node)
        return sum(node.get_args()) + sum(node.get_kwargs().values())

    assert graph.apply_recursive(visit) == 3
    assert len(seen) == 3
    assert seen[-1].get_stable_uuid() == graph.get_stable_uuid()


def test_a_node_survives_pickling(ray: Ray, add: Any) -> None:
    cloudpickle = __import__(f"{ray.__name__}.cloudpickle", fromlist=["x"])
    node = add.bind(add.bind(1), b=5)
    copy = pickle.loads(cloudpickle.dumps(node))
    assert copy.get_stable_uuid() == node.get_stable_uuid()
    assert ray.get(copy.execute()) == 7


def test_a_graph_runs_inside_a_task(ray: Ray, add: Any) -> None:
    graph = add.bind(add.bind(1))

    @ray.remote(num_cpus=0)
    def run(nodes: list[Any]) -> int:
        return int(ray.get(nodes[0].execute()))

    assert ray.get(run.remote([graph])) == 3


# ---- inputs and outputs --------------------------------------------------------------------------


def test_input_of_one_value(ray: Ray, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        graph = add.bind(given, given)
    assert ray.get(graph.execute(4)) == 8
    assert ray.get(graph.execute(5)) == 10
    assert ray.get(graph.execute(ray.put(6))) == 12


def test_input_by_index_and_name(ray: Ray, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        graph = add.bind(given[0], given.x)
    assert ray.get(graph.execute(1, x=2)) == 3


def test_input_by_index_of_the_only_value(ray: Ray, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        by_index = add.bind(given[0], given[1])
        by_key = add.bind(given["a"], given["b"])
        by_name = add.bind(given.inside, given.other)
    assert ray.get(by_index.execute([1, 2])) == 3
    assert ray.get(by_key.execute({"a": 3, "b": 4})) == 7
    assert ray.get(by_name.execute(Box(5, 6))) == 11


def test_parts_of_an_input_are_the_same_node(dag: Any) -> None:
    with dag.InputNode() as given:
        assert given[0] is given[0]
        assert given.x is given.x
        assert isinstance(given.x, dag.InputAttributeNode)


def test_wrong_inputs(ray: Ray, dag: Any, add: Any) -> None:
    with pytest.raises(ValueError, match="should not take any args"):
        dag.InputNode(1)
    with pytest.raises(ValueError, match="should not take any args"):
        dag.InputNode(x=1)
    with pytest.raises(AssertionError, match="context manager"):
        add.bind(dag.InputNode()).execute(1)
    with dag.InputNode() as given:
        graph = add.bind(given[3])
    with pytest.raises(IndexError):
        graph.execute(1, 2)
    with pytest.raises(AssertionError, match="int index or str"):
        _ = given[1.5]


def test_two_inputs_in_one_graph_are_refused(dag: Any, add: Any) -> None:
    with dag.InputNode() as one:
        left = add.bind(one)
    with dag.InputNode() as two:
        right = add.bind(two)
    with pytest.raises(AssertionError, match="unique InputNode"):
        add.bind(left, right).execute(1)


def test_several_outputs(ray: Ray, dag: Any, add: Any, journal: Journal) -> None:
    shared = ray.remote(lambda text: journal.add(text)).bind("once")
    with dag.InputNode() as given:
        graph = dag.MultiOutputNode([add.bind(given, shared), add.bind(shared)])
    refs = graph.execute(5)
    assert isinstance(refs, list)
    assert ray.get(refs) == [6, 2]
    assert journal.lines() == ["once"]


def test_outputs_must_be_a_list(dag: Any, add: Any, ray: Ray) -> None:
    assert ray.get(dag.MultiOutputNode((add.bind(1),)).execute()) == [2]
    with pytest.raises(ValueError, match="Invalid input type"):
        dag.MultiOutputNode(add.bind(1))


def test_results_of_every_node_can_be_kept(ray: Ray, add: Any) -> None:
    inner = add.bind(1)
    graph = add.bind(inner)
    graph.execute(_ray_cache_refs=True)
    cache = asyncio.run(graph.get_object_refs_from_last_execute())
    assert ray.get(cache[inner.get_stable_uuid()]) == 2
    assert ray.get(cache[graph.get_stable_uuid()]) == 3
    graph.clear_cache()
    assert asyncio.run(graph.get_object_refs_from_last_execute()) == {}


# ---- actors --------------------------------------------------------------------------------------


def test_a_class_gives_an_actor(ray: Ray, dag: Any) -> None:
    node = ray.remote(Counter).bind(5)
    assert isinstance(node, dag.ClassNode)
    handle = node.execute()
    assert isinstance(handle, ray.actor.ActorHandle)
    assert ray.get(handle.add.remote()) == 6


def test_calls_of_one_actor_run_in_the_order_of_bind(ray: Ray, dag: Any) -> None:
    counter = ray.remote(Counter).bind(10)
    counter.add.bind(1)
    counter.add.bind(2)
    last = counter.get.bind()
    assert isinstance(last, dag.ClassMethodNode)
    assert last.get_method_name() == "get"
    assert ray.get(last.execute()) == 13


def test_every_execute_makes_new_actors(ray: Ray) -> None:
    counter = ray.remote(Counter).bind(0)
    graph = counter.add.bind(1)
    assert ray.get(graph.execute()) == 1
    assert ray.get(graph.execute()) == 1


def test_actor_and_function_nodes_mix(ray: Ray, add: Any) -> None:
    counter = ray.remote(Counter).bind(add.bind(1, 1))
    graph = add.bind(counter.add.bind(add.bind(2, 1)), counter.get.bind())
    assert ray.get(graph.execute()) == 10


def test_actor_nodes_as_arguments(ray: Ray) -> None:
    @ray.remote
    def use(handle: Any) -> int:
        return int(ray.get(handle.add.remote(2)))

    assert ray.get(use.bind(ray.remote(Counter).bind(1)).execute()) == 3


def test_options_of_classes_and_methods(ray: Ray) -> None:
    counter = ray.remote(Counter).options(num_cpus=0).bind(1)
    assert ray.get(counter.pair.options(num_returns=2).bind().execute()) == [1, 2]
    assert counter.get_options()["num_cpus"] == 0


def test_calls_on_a_living_actor(ray: Ray, dag: Any, add: Any) -> None:
    handle = ray.remote(Counter).remote(1)
    with dag.InputNode() as given:
        graph = add.bind(handle.add.bind(given), 100)
    assert ray.get(graph.execute(1)) == 102
    assert ray.get(graph.execute(1)) == 103
    assert ray.get(handle.get.remote()) == 3


def test_wrong_arguments_of_a_bound_call(ray: Ray) -> None:
    handle = ray.remote(Counter).remote(1)
    with pytest.raises(TypeError):
        handle.add.bind(1, 2, 3)


def test_several_values_of_a_bound_call(ray: Ray) -> None:
    handle = ray.remote(Counter).remote(4)
    outputs = handle.pair.options(num_returns=2).bind()
    assert isinstance(outputs, tuple) and len(outputs) == 2
    first, second = outputs
    assert second.output_idx == 1 and second.is_class_method_output
    assert ray.get(handle.echo.bind(second).execute()) == 5
    assert ray.get(first.execute()) == 4


def test_no_input_for_constructors(ray: Ray, dag: Any) -> None:
    with dag.InputNode() as given:
        with pytest.raises(ValueError, match="InputNode"):
            ray.remote(Counter).bind(given)


# ---- compiled graphs -----------------------------------------------------------------------------


@pytest.fixture
def counter(ray: Ray) -> Any:
    return ray.remote(Counter).remote(0)


def test_compiled(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.add.bind(given)
    compiled = graph.experimental_compile()
    try:
        assert [ray.get(compiled.execute(i)) for i in range(4)] == [0, 1, 3, 6]
        ref = compiled.execute(1)
        assert ray.get(ref) == 7
        with pytest.raises(ValueError, match="can only be called once"):
            ray.get(ref)
    finally:
        compiled.teardown()
    assert ray.get(counter.get.remote()) == 7


def test_compiled_over_two_actors(ray: Ray, dag: Any, counter: Any) -> None:
    other = ray.remote(Counter).remote(100)
    with dag.InputNode() as given:
        first = counter.add.bind(given[0])
        graph = dag.MultiOutputNode([other.add.bind(first), counter.echo.bind(given.x)])
    compiled = graph.experimental_compile()
    try:
        refs = compiled.execute(5, x="y")
        assert isinstance(refs, list)
        assert ray.get(refs) == [105, "y"]
        with pytest.raises(ValueError, match="positional args"):
            compiled.execute(1, 2, x=3)
        with pytest.raises(ValueError, match="kwarg"):
            compiled.execute(1)
    finally:
        compiled.teardown()


def test_an_error_in_a_compiled_graph_leaves_it_usable(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.echo.bind(counter.fail.bind(given))
    compiled = graph.experimental_compile()
    try:
        for _ in range(2):
            with pytest.raises(KeyError, match="no"):
                ray.get(compiled.execute(1))
    finally:
        compiled.teardown()


def test_compiled_with_asyncio(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.add.bind(given)

    async def run() -> list[int]:
        compiled = graph.experimental_compile(enable_asyncio=True)
        try:
            with pytest.raises(ValueError, match="execute_async"):
                compiled.execute(1)
            return [await (await compiled.execute_async(i)) for i in range(3)]
        finally:
            compiled.teardown()

    assert asyncio.run(run()) == [0, 1, 3]


def test_what_can_not_be_compiled(ray: Ray, dag: Any, add: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        function = add.bind(given)
    with pytest.raises(NotImplementedError, match="actor method"):
        function.experimental_compile()
    with dag.InputNode() as given:
        late = ray.remote(Counter).bind().add.bind(given)
    with pytest.raises(ValueError, match="already created"):
        late.experimental_compile()
    with dag.InputNode() as given:
        nested = counter.echo.bind([given])
    with pytest.raises(ValueError, match="DAGNode"):
        nested.experimental_compile()
    with dag.InputNode() as given:
        keyword = counter.echo.bind(given, other=given)
    with pytest.raises(ValueError, match="kwargs"):
        keyword.experimental_compile()
    with pytest.raises(ValueError, match="No InputNode"):
        counter.add.bind(1).experimental_compile()


def test_a_graph_that_was_torn_down(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.add.bind(given)
    compiled = graph.experimental_compile()
    assert ray.get(compiled.execute(1)) == 1
    compiled.teardown()
    with pytest.raises(ray.exceptions.RayChannelError, match="Channel closed"):
        compiled.execute(1)


def test_a_graph_is_compiled_once(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.add.bind(given)
    compiled = graph.experimental_compile()
    try:
        with pytest.raises(ValueError, match="multiple times"):
            graph.experimental_compile()
    finally:
        compiled.teardown()


def test_executions_in_flight_are_limited(ray: Ray, dag: Any, counter: Any) -> None:
    with dag.InputNode() as given:
        graph = counter.add.bind(given)
    compiled = graph.experimental_compile(_max_inflight_executions=2)
    try:
        refs = [compiled.execute(1), compiled.execute(1)]
        with pytest.raises(ray.exceptions.RayCgraphCapacityExceeded):
            compiled.execute(1)
        assert [ray.get(ref) for ref in refs] == [1, 2]
        assert ray.get(compiled.execute(1)) == 3
    finally:
        compiled.teardown()


def test_modules_of_the_nodes(dag: Any, part: Callable[[str], Any]) -> None:
    places = {
        "dag_node": ["DAGNode"],
        "function_node": ["FunctionNode"],
        "class_node": ["ClassNode", "ClassMethodNode"],
        "input_node": ["InputNode", "InputAttributeNode", "DAGInputData"],
        "output_node": ["MultiOutputNode"],
        "constants": ["PARENT_CLASS_NODE_KEY", "PREV_CLASS_METHOD_CALL_KEY", "BIND_INDEX_KEY"],
    }
    for module, names in places.items():
        for name in names:
            assert getattr(part(f"dag.{module}"), name) is getattr(dag, name)
    assert part("dag.compiled_dag_node").CompiledDAG
