"""Metrics: what is refused, and what a metric tells of itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..catalogue import Ray, program
from ..observe import attempt

TAG = {"tag_keys": ("a",)}
USES: dict[str, Any] = {
    "tag missing": lambda m: m.Counter("c", **TAG).inc(1),
    "zero": lambda m: m.Counter("c").inc(0),
    "negative": lambda m: m.Counter("c").inc(-1),
    "text": lambda m: m.Counter("c").inc("x"),
    "tag": lambda m: m.Counter("c", **TAG).inc(1, tags={"a": "x"}),
    "unknown tag": lambda m: m.Counter("c", **TAG).inc(1, tags={"b": "x"}),
    "number for a tag": lambda m: m.Counter("c", **TAG).inc(1, tags={"a": 1}),
    "default": lambda m: m.Counter("c", **TAG).set_default_tags({"a": "x"}).inc(1),
    "default that is unknown": lambda m: m.Counter("c", **TAG).set_default_tags({"b": "x"}),
    "default that is a number": lambda m: m.Counter("c", **TAG).set_default_tags({"a": 1}),
    "no name": lambda m: m.Counter(""),
    "number for a name": lambda m: m.Counter(3),
    "text for keys": lambda m: m.Counter("c", tag_keys="a"),
    "list for keys": lambda m: m.Counter("c", tag_keys=["a"]),
    "numbers for keys": lambda m: m.Counter("c", tag_keys=(1,)),
    "gauge": lambda m: m.Gauge("g").set(3),
    "gauge of none": lambda m: m.Gauge("g").set(None),
    "gauge of text": lambda m: m.Gauge("g").set("x"),
    "no boundaries": lambda m: m.Histogram("h"),
    "empty boundaries": lambda m: m.Histogram("h", boundaries=[]),
    "boundary of zero": lambda m: m.Histogram("h", boundaries=[0, 1]),
    "falling boundaries": lambda m: m.Histogram("h", boundaries=[2, 1]),
    "boundaries of text": lambda m: m.Histogram("h", boundaries=["a"]),
    "observed": lambda m: m.Histogram("h", boundaries=[1, 2]).observe(1.5),
    "observed text": lambda m: m.Histogram("h", boundaries=[1, 2]).observe("x"),
    "the base": lambda m: m.Metric("x"),
}


@program(each=USES)
def use(ray: Ray, use: Any) -> Any:
    module = import_module(f"{ray.__name__}.util.metrics")
    outcome = attempt(lambda: use(module), text=False)
    outcome.value = type(outcome.value).__name__
    return outcome


@program
def info(ray: Ray) -> Any:
    module = import_module(f"{ray.__name__}.util.metrics")
    made = (
        module.Counter("c", description="d", **TAG),
        module.Gauge("g"),
        module.Histogram("h", boundaries=[1, 2], **TAG),
    )
    return [metric.info for metric in made]
