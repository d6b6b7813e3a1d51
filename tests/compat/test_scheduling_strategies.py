"""scheduling_strategy, label selectors and labels: what they accept, what they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import init_defaults
from .groups import strategies_module
from .helpers import Ray

OTHER_NODE = "ab" * 28


@pytest.fixture(scope="module")
def _machine(engine: Ray) -> Iterator[None]:
    engine.shutdown()
    engine.init(**{**init_defaults(), "labels": {"where": "here", "example.com/kind": "fast"}})
    yield
    engine.shutdown()


@pytest.fixture
def machine(engine: Ray, _machine: None) -> Ray:
    """An instance whose node has two labels."""
    return engine


@pytest.fixture
def known(engine: Ray) -> Any:
    """The module with the strategies."""
    return strategies_module(engine)


def runs(ray: Ray, **options: Any) -> bool:
    """Does a task with these options run at all?"""
    ref = ray.remote(lambda: "ran").options(**options).remote()
    done, _ = ray.wait([ref], timeout=0.7)
    if not done:
        ray.cancel(ref)
        return False
    return bool(ray.get(ref) == "ran")


def actor_class(ray: Ray) -> Any:
    @ray.remote
    class Here:
        def node(self) -> str:
            return str(ray.get_runtime_context().get_node_id())

    return Here


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD", None])
def test_names(machine: Ray, strategy: Any) -> None:
    task = machine.remote(lambda: 1).options(scheduling_strategy=strategy)
    assert machine.get(task.remote()) == 1
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    assert machine.get(actor.node.remote()) == machine.get_runtime_context().get_node_id()


def test_an_unknown_name(machine: Ray) -> None:
    with pytest.raises(ValueError, match="Invalid scheduling_strategy"):
        machine.remote(lambda: 1).options(scheduling_strategy="SIDEWAYS").remote()


@pytest.mark.parametrize("strategy", [5, ["SPREAD"], object()])
def test_a_wrong_type(machine: Ray, strategy: Any) -> None:
    with pytest.raises(TypeError):
        machine.remote(scheduling_strategy=strategy)(lambda: 1)


# ---- node affinity -------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [True, False])
def test_affinity_to_this_node(machine: Ray, known: Any, soft: bool) -> None:
    node = machine.get_runtime_context().get_node_id()
    strategy = known.NodeAffinitySchedulingStrategy(node, soft)
    task = machine.remote(lambda: machine.get_runtime_context().get_node_id())
    assert machine.get(task.options(scheduling_strategy=strategy).remote()) == node
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    assert machine.get(actor.node.remote()) == node


def test_affinity_takes_an_id_object(machine: Ray, known: Any) -> None:
    node = machine.NodeID.from_hex(machine.nodes()[0]["NodeID"])
    strategy = known.NodeAffinitySchedulingStrategy(node, soft=False)
    assert strategy.node_id == node.hex()


def test_soft_affinity_to_another_node(machine: Ray, known: Any) -> None:
    strategy = known.NodeAffinitySchedulingStrategy(OTHER_NODE, soft=True)
    task = machine.remote(lambda: 1).options(scheduling_strategy=strategy)
    assert machine.get(task.remote()) == 1


def test_hard_affinity_to_another_node(machine: Ray, known: Any) -> None:
    strategy = known.NodeAffinitySchedulingStrategy(OTHER_NODE, soft=False)
    task = machine.remote(lambda: 1).options(scheduling_strategy=strategy)
    with pytest.raises(machine.exceptions.TaskUnschedulableError, match="not schedulable"):
        machine.get(task.remote(), timeout=120)


def test_hard_affinity_of_an_actor_to_another_node(machine: Ray, known: Any) -> None:
    strategy = known.NodeAffinitySchedulingStrategy(OTHER_NODE, soft=False)
    actor = actor_class(machine).options(scheduling_strategy=strategy).remote()
    with pytest.raises(machine.exceptions.ActorUnschedulableError, match="not schedulable"):
        machine.get(actor.node.remote(), timeout=120)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_return_of_an_unschedulable_task_fails(machine: Ray, known: Any, count: int) -> None:
    strategy = known.NodeAffinitySchedulingStrategy(OTHER_NODE, soft=False)
    task = machine.remote(lambda: [1] * count)
    refs = task.options(num_returns=count, scheduling_strategy=strategy).remote()
    if count == 0:
        assert refs is None
    for ref in refs if count > 1 else [refs] * count:
        with pytest.raises(machine.exceptions.TaskUnschedulableError):
            machine.get(ref, timeout=120)


@pytest.mark.parametrize("node", ["", "xyz", "ab", "ff" * 28])
def test_ids_that_name_no_node(known: Any, node: str) -> None:
    with pytest.raises(ValueError, match="Invalid node_id"):
        known.NodeAffinitySchedulingStrategy(node, soft=False)


def test_private_flags_exclude_each_other(known: Any) -> None:
    with pytest.raises(ValueError, match="_spill_on_unavailable"):
        known.NodeAffinitySchedulingStrategy(OTHER_NODE, False, _spill_on_unavailable=True)
    with pytest.raises(ValueError, match="_fail_on_unavailable"):
        known.NodeAffinitySchedulingStrategy(OTHER_NODE, True, _fail_on_unavailable=True)


# ---- label strategies ----------------------------------------------------------------------------


def test_labels_that_the_node_has(machine: Ray, known: Any) -> None:
    strategy = known.NodeLabelSchedulingStrategy(
        {"where": known.In("there", "here"), "example.com/kind": known.Exists()}
    )
    assert (
        machine.get(machine.remote(lambda: 1).options(scheduling_strategy=strategy).remote()) == 1
    )


def test_labels_that_the_node_has_not(machine: Ray, known: Any) -> None:
    strategy = known.NodeLabelSchedulingStrategy(
        {"where": known.NotIn("there"), "color": known.DoesNotExist()}
    )
    assert (
        machine.get(machine.remote(lambda: 1).options(scheduling_strategy=strategy).remote()) == 1
    )


def test_labels_that_fail(machine: Ray, known: Any) -> None:
    for hard in (
        {"where": known.In("there")},
        {"where": known.NotIn("here")},
        {"where": known.DoesNotExist()},
        {"color": known.Exists()},
    ):
        strategy = known.NodeLabelSchedulingStrategy(hard)
        assert not runs(machine, scheduling_strategy=strategy)


def test_soft_labels_are_wishes(machine: Ray, known: Any) -> None:
    strategy = known.NodeLabelSchedulingStrategy({}, soft={"color": known.In("red")})
    assert (
        machine.get(machine.remote(lambda: 1).options(scheduling_strategy=strategy).remote()) == 1
    )


@pytest.mark.parametrize("make", ["In", "NotIn"])
def test_operators_need_values(known: Any, make: str) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        getattr(known, make)()
    with pytest.raises(ValueError, match="must be str"):
        getattr(known, make)("a", 5)


def test_wrong_expressions(known: Any) -> None:
    strategy = known.NodeLabelSchedulingStrategy
    with pytest.raises(ValueError, match="cannot both be empty"):
        strategy({})
    with pytest.raises(ValueError, match="must be a map"):
        strategy("where")
    with pytest.raises(ValueError, match="must be of type str"):
        strategy({5: known.Exists()})
    with pytest.raises(ValueError, match="must be one of"):
        strategy({"where": "here"})


# ---- label selectors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"where": "here"},
        {"where": "!there"},
        {"where": "in(there,here)"},
        {"where": "!in(a,b)"},
        {"color": "!red"},
        {"where": "here", "example.com/kind": "fast"},
    ],
)
def test_selectors_that_hold(machine: Ray, selector: Any) -> None:
    task = machine.remote(lambda: 1).options(label_selector=selector)
    assert machine.get(task.remote(), timeout=120) == 1


@pytest.mark.ray_differs("Ray takes the blank for a part of the value, and waits for ever")
def test_blanks_between_the_values_of_a_selector(machine: Ray) -> None:
    task = machine.remote(lambda: 1).options(label_selector={"where": "in(there, here)"})
    assert machine.get(task.remote(), timeout=120) == 1


@pytest.mark.parametrize(
    "selector",
    [
        {"where": "there"},
        {"where": "!here"},
        {"where": "in(a,b)"},
        {"color": "red"},
        {"where": "here", "color": "red"},
    ],
)
def test_selectors_that_fail(machine: Ray, selector: Any) -> None:
    assert not runs(machine, label_selector=selector)


def test_a_selector_of_an_actor(machine: Ray) -> None:
    actor = actor_class(machine).options(label_selector={"where": "here"}).remote()
    machine.get(actor.node.remote(), timeout=120)
    never = actor_class(machine).options(label_selector={"where": "there"}).remote()
    assert machine.wait([never.node.remote()], timeout=0.5)[0] == []


def test_fallbacks(machine: Ray) -> None:
    good = [{"label_selector": {"color": "red"}}, {"label_selector": {"where": "here"}}]
    task = machine.remote(lambda: 1).options(
        label_selector={"where": "there"}, fallback_strategy=good
    )
    assert machine.get(task.remote(), timeout=120) == 1


def test_fallbacks_that_fail_too(machine: Ray) -> None:
    assert not runs(
        machine,
        label_selector={"where": "there"},
        fallback_strategy=[{"label_selector": {"color": "red"}}],
    )


@pytest.mark.parametrize(
    "selector", [{"-x": "a"}, {"where": "!!here"}, {"where": "in()"}, {"where": "a b"}]
)
def test_wrong_selectors(machine: Ray, selector: Any) -> None:
    with pytest.raises(ValueError, match="Invalid label"):
        machine.remote(label_selector=selector)(lambda: 1)


@pytest.mark.parametrize(
    ("fallback", "words"),
    [
        (["x"], "must be a dictionary"),
        ([{}], "Empty dictionary"),
        ([{"num_cpus": 1}], "Unsupported option"),
        ([{"label_selector": {"where": "!!"}}], "Invalid label"),
    ],
)
def test_wrong_fallbacks(machine: Ray, fallback: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        machine.remote(label_selector={"where": "here"}, fallback_strategy=fallback)(lambda: 1)


# ---- labels --------------------------------------------------------------------------------------


def test_labels_of_the_node(machine: Ray) -> None:
    labels = machine.nodes()[0]["Labels"]
    assert labels["where"] == "here"
    assert labels["example.com/kind"] == "fast"
    assert labels["ray.io/node-id"] == machine.nodes()[0]["NodeID"]


def test_labels_as_tasks_see_them(machine: Ray) -> None:
    look = machine.remote(lambda: machine.get_runtime_context().get_node_labels())
    assert machine.get(look.remote()) == machine.nodes()[0]["Labels"]


@pytest.mark.ray_differs("Ray starts with it")
def test_labels_that_can_be_none(start: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="Invalid label"):
        start(labels={"-x": "y"})
    with pytest.raises(TypeError):
        start(labels=["x"])


@pytest.mark.ray_differs("Ray says so in the output of its own processes")
def test_what_no_node_is_like_is_said_at_once(
    start: Callable[..., Any], ray_fresh: Ray, capfd: pytest.CaptureFixture[str]
) -> None:
    start(labels={"where": "here"})
    task = ray_fresh.remote(lambda: 1).options(label_selector={"where": "there"})
    ref = task.remote()
    text = capfd.readouterr().err
    assert text.count("will wait for ever") == 1
    assert "'where': 'there'" in text
    ray_fresh.cancel(ref)
