"""Graphs that are new in every run, against the model; and the model against Ray."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import graphs, model, record
from .catalogue import SESSION, Ray
from .graphs import KINDS, Step
from .observe import describe

ANSWERS: dict[str, Any] = json.loads(record.ANSWERS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    record.prepare()
    engine = importlib.import_module("whipray")
    engine.shutdown()
    record.start(engine, SESSION)
    yield engine
    engine.shutdown()


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    drawn = [Step("put", draw(st.integers(1, 9)), ())]
    for position in range(1, draw(st.integers(2, 12))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        uses = st.lists(st.integers(0, position - 1), min_size=1, max_size=3)
        number, actor = draw(st.integers(1, 9)), draw(st.integers(0, graphs.ACTORS - 1))
        drawn.append(Step(kind, number, () if kind == "put" else tuple(draw(uses)), actor))
    return drawn


@given(steps())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_graph_gives_what_the_model_says(ray: Ray, graph: list[Step]) -> None:
    assert describe(graphs.run(ray, graph)) == model.outcomes(graph)


@pytest.mark.parametrize("seed", range(graphs.SEEDS))
def test_model_gives_what_ray_gave(seed: int) -> None:
    recorded = ANSWERS[f"random_graphs.graph[seed {seed}]"]
    assert model.outcomes(graphs.draw(seed)) == recorded
