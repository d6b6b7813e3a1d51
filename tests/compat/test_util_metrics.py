"""Counters, gauges and histograms: what they accept."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from .helpers import Ray


@pytest.fixture
def metrics(part: Callable[[str], Any]) -> Any:
    return part("util.metrics")


def test_recording(metrics: Any) -> None:
    counter = metrics.Counter("compat_count", description="how often", tag_keys=("a",))
    counter.inc(tags={"a": "x"})
    counter.inc(2.5, tags={"a": "x"})
    gauge = metrics.Gauge("compat_level")
    gauge.set(3)
    gauge.set(-1.5)
    gauge.set(None)
    histogram = metrics.Histogram("compat_size", boundaries=[1.0, 10])
    histogram.observe(0.5)
    histogram.observe(100)


def test_info(metrics: Any) -> None:
    counter = metrics.Counter("compat_info", description="text", tag_keys=("a", "b"))
    assert counter.set_default_tags({"a": "1"}) is counter
    assert counter.info == {
        "name": "compat_info",
        "description": "text",
        "tag_keys": ("a", "b"),
        "default_tags": {"a": "1"},
    }
    histogram = metrics.Histogram("compat_bounds", boundaries=[1, 2])
    assert histogram.info["boundaries"] == [1, 2]
    assert metrics.Gauge("compat_plain").info["tag_keys"] == ()


def test_tags(metrics: Any) -> None:
    counter = metrics.Counter("compat_tags", tag_keys=("a", "b"))
    with pytest.raises(ValueError, match="Missing value for tag key"):
        counter.inc(tags={"a": "1"})
    with pytest.raises(TypeError, match="must be str"):
        counter.inc(tags={"a": "1", "b": 2})
    counter.set_default_tags({"b": "2"})
    counter.inc(tags={"a": "1"})
    with pytest.raises(ValueError, match="Unrecognized tag key"):
        counter.set_default_tags({"c": "3"})
    with pytest.raises(TypeError, match="must be str"):
        counter.set_default_tags({"a": 3})
    with pytest.raises(TypeError, match="tuple"):
        metrics.Counter("compat_list", tag_keys=["a"])
    with pytest.raises(TypeError, match="must be str"):
        metrics.Counter("compat_number", tag_keys=(1,))


@pytest.mark.parametrize("value", [0, -1, -0.5])
def test_a_counter_only_grows(metrics: Any, value: float) -> None:
    with pytest.raises(ValueError, match="must be >0"):
        metrics.Counter("compat_grows").inc(value)


def test_wrong_values(metrics: Any) -> None:
    with pytest.raises(TypeError, match="int or float"):
        metrics.Counter("compat_wrong").inc("1")
    with pytest.raises(TypeError, match="int or float"):
        metrics.Gauge("compat_wrong_level").set("1")
    with pytest.raises(TypeError, match="int or float"):
        metrics.Histogram("compat_wrong_size", boundaries=[1]).observe("1")


def test_boundaries(metrics: Any) -> None:
    for boundaries in (None, []):
        with pytest.raises(ValueError, match="boundaries"):
            metrics.Histogram("compat_none", boundaries=boundaries)
    for boundaries in ([0, 1], [-1]):
        with pytest.raises(ValueError, match="positive"):
            metrics.Histogram("compat_negative", boundaries=boundaries)


def test_names(metrics: Any) -> None:
    with pytest.raises(ValueError, match="Empty name"):
        metrics.Counter("")
    for name in ("with-dash", "1st", "a b", "ä"):
        with pytest.warns(UserWarning, match="Invalid metric name"):
            counter = metrics.Counter(name)
        counter.inc()  # goes nowhere


def test_metrics_travel(ray: Ray, metrics: Any) -> None:
    counter = metrics.Counter("compat_travels", description="d", tag_keys=("a",))
    histogram = metrics.Histogram("compat_travels_too", boundaries=[1, 2])

    @ray.remote
    def use(counter: Any, histogram: Any) -> Any:
        counter.inc(tags={"a": "b"})
        histogram.observe(1)
        return counter.info["name"], histogram.info["boundaries"]

    assert ray.get(use.remote(counter, histogram)) == ("compat_travels", [1, 2])
    assert pickle.loads(pickle.dumps(counter)).info["description"] == "d"
