"""Counters, gauges and histograms that a program keeps, summed up over its processes.

Recording changes numbers of this process only, in memory that outlives it, see
`whipray._private.metric_files`.  `prometheus_text` finds those of all processes: counters and
histograms of dead ones too, gauges only of living ones.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from bisect import bisect_left
from typing import Any, TypeVar

from whipray import _core
from whipray._private import metric_files, worker

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "prometheus_text"]

Self = TypeVar("Self", bound="Metric")
Number = int | float
Tags = dict[str, str]
Sample = list[Any]
"""[value], or for a histogram [sum, count of each bucket, the last one open]."""

_VALID = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


# ---- the numbers of this process -----------------------------------------------------------------


class _Process:
    """What this process has recorded in the open session."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.epoch = 0
        self.numbers: metric_files.Numbers | None = None
        self.places: dict[tuple[Any, ...], int] = {}

    def place(self, metric: Metric, tags: str) -> tuple[memoryview[float], int]:
        """Where the sample of a metric with these tags lies; call with the lock."""
        if self.epoch != _core.epoch() or self.numbers is None:
            self._begin()
        assert self.numbers is not None
        facts = {"name": metric._name, "kind": metric._kind, **metric._facts()}
        key = (metric._name, metric._kind, metric._size, tags)
        found = self.places.get(key)
        if found is None:
            facts.update(help=metric._description, tags=tags)
            found = self.places[key] = self.numbers.add(facts, metric._size)
        return self.numbers.values, found

    def _begin(self) -> None:
        if self.numbers is not None:
            self.numbers.close()
        info = _core.info()
        self.epoch = _core.epoch()
        self.places.clear()
        name = f"{info['slot']}-{info['gen']}"
        self.numbers = metric_files.Numbers(str(info["session_dir"]), name)

    def end(self) -> None:
        """Let go of the files of a session that has ended."""
        with self.lock:
            if self.numbers is not None:
                self.numbers.close()
            self.numbers = None


_process = _Process()


def stop() -> None:
    """At the end of a session."""
    _process.end()


# ---- metrics -------------------------------------------------------------------------------------


class Metric:
    """A named number with tags.  A name that Prometheus does not allow is warned of and ignored."""

    _kind = ""
    _size = 1
    """Numbers of a sample."""

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        if not name:
            raise ValueError("Empty name is not allowed. Please provide a metric name.")
        self._discard_metric = _VALID.fullmatch(name) is None
        if self._discard_metric:
            warnings.warn(
                f"Invalid metric name: {name}. Nothing will be recorded: a name has only letters, "
                "digits, _ and :, and does not start with a digit.",
                UserWarning,
                stacklevel=3,
            )
        elif ":" in name:
            warnings.warn(
                f"Metric name {name} contains a : character, which is no longer allowed.",
                FutureWarning,
                stacklevel=3,
            )
        self._name = name
        self._description = description
        self._default_tags: Tags = {}
        self._tag_keys = tag_keys or ()
        if not isinstance(self._tag_keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(self._tag_keys)}")
        for key in self._tag_keys:
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")

    def set_default_tags(self: Self, default_tags: Tags) -> Self:
        """Values for tags that a record does not give; returns the metric."""
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            if not isinstance(value, str):
                raise TypeError(f"Tag values must be str, got {type(value)}.")
        self._default_tags = default_tags
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, keys and default values of tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    def _facts(self) -> dict[str, Any]:
        return {}

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self._tag_keys

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments(), {"_default_tags": self._default_tags}

    def _record(self, value: Number, tags: Tags | None) -> None:
        if not isinstance(value, int | float):
            raise TypeError(f"value must be int or float, got {type(value)}.")
        for given in (tags or {}).values():
            if not isinstance(given, str):
                raise TypeError(f"Tag values must be str, got {type(given)}.")
        final = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in final]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        if self._discard_metric or not _core.attached():
            return  # a thread that still counts must not start a session after the last one
        key = json.dumps(sorted(final.items()))
        with _process.lock:
            self._update(*_process.place(self, key), value)

    def _update(self, values: memoryview[float], at: int, value: Number) -> None:
        raise NotImplementedError


class Counter(Metric):
    """A number that only grows."""

    _kind = "counter"

    def inc(self, value: Number = 1.0, tags: Tags | None = None) -> None:
        """Add `value`, which is above 0."""
        if isinstance(value, int | float) and value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        self._record(value, tags)

    def _update(self, values: memoryview[float], at: int, value: Number) -> None:
        values[at] += value


class Gauge(Metric):
    """A number that is set."""

    _kind = "gauge"

    def set(self, value: Number | None, tags: Tags | None = None) -> None:
        """The number is `value` now; None changes nothing."""
        if value is not None:
            self._record(value, tags)

    def _update(self, values: memoryview[float], at: int, value: Number) -> None:
        values[at] = value


class Histogram(Metric):
    """How many of the observed values lie below each boundary."""

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: list[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError(
                "boundaries argument should be provided when using the Histogram class. e.g., "
                'Histogram("name", boundaries=[1.0, 2.0])'
            )
        for i, boundary in enumerate(boundaries):
            if boundary <= 0:
                raise ValueError(
                    f"Invalid `boundaries` argument at index {i}, {boundaries}. Use positive "
                    "values for the arguments."
                )
        self.boundaries = boundaries
        self._bounds = sorted(boundaries)
        self._size = 2 + len(boundaries)

    def observe(self, value: Number, tags: Tags | None = None) -> None:
        """Count `value` in its bucket."""
        self._record(value, tags)

    @property
    def info(self) -> dict[str, Any]:
        """As of every metric, and the boundaries."""
        return {**super().info, "boundaries": self.boundaries}

    def _facts(self) -> dict[str, Any]:
        return {"bounds": self._bounds}

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self.boundaries, self._tag_keys

    def _update(self, values: memoryview[float], at: int, value: Number) -> None:
        values[at + 1 + bisect_left(self._bounds, value)] += 1
        values[at] += value


# ---- reading -------------------------------------------------------------------------------------


def prometheus_text() -> str:
    """The metrics of all processes of the session in Prometheus' text format.

    Names begin with `ray_`; counters end with `_total`.  A gauge has the process that set it as
    tag `WorkerId`.
    """
    worker.require_attached("prometheus_text")
    living = {f"{row['slot']}-{row['gen']}": row for row in _core.procs()}
    merged: dict[str, dict[str, Any]] = {}
    for process, found, numbers in metric_files.read(str(_core.info()["session_dir"])):
        name, tags = found.pop("name"), found.pop("tags")
        sample = [numbers[0], numbers[1:]] if found["kind"] == "histogram" else numbers
        facts = {**found, "samples": {tags: sample}}
        if found["kind"] != "gauge":
            _merge(merged, name, facts)
        elif process in living:
            _merge(merged, name, _tagged(facts, _worker_id(living[process])))
    return "".join(_block(name, facts) for name, facts in sorted(merged.items()))


def _worker_id(row: dict[str, Any]) -> str:
    from whipray._private.ids import worker_id_of

    return worker_id_of(str(_core.info()["session"]), row["slot"], row["gen"]).hex()


def _tagged(facts: dict[str, Any], worker_id: str) -> dict[str, Any]:
    samples = {
        json.dumps([*json.loads(tags), ["WorkerId", worker_id]]): sample
        for tags, sample in facts["samples"].items()
    }
    return {**facts, "samples": samples}


def _merge(merged: dict[str, dict[str, Any]], name: str, facts: dict[str, Any]) -> None:
    known = merged.setdefault(name, {**facts, "samples": {}})
    for tags, sample in facts["samples"].items():
        old = known["samples"].get(tags)
        if old is not None and len(sample) == 1:
            sample = [old[0] + sample[0]]
        elif old is not None:
            counts = [a + b for a, b in zip(old[1], sample[1], strict=False)]
            sample = [old[0] + sample[0], counts]
        known["samples"][tags] = sample


def _block(name: str, facts: dict[str, Any]) -> str:
    kind = facts["kind"]
    full = f"ray_{name}" + ("_total" if kind == "counter" else "")
    text = facts["help"].replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    for tags, sample in sorted(facts["samples"].items()):
        pairs = json.loads(tags)
        if kind != "histogram":
            lines.append(f"{full}{_labels(pairs)} {float(sample[0])}")
            continue
        total = 0
        for bound, count in zip([*facts["bounds"], "+Inf"], sample[1], strict=True):
            total += count
            shown = bound if bound == "+Inf" else float(bound)
            lines.append(f"{full}_bucket{_labels([*pairs, ['le', shown]])} {float(total)}")
        lines.append(f"{full}_count{_labels(pairs)} {float(total)}")
        lines.append(f"{full}_sum{_labels(pairs)} {float(sample[0])}")
    return "\n".join(lines) + "\n"


def _labels(pairs: list[list[Any]]) -> str:
    if not pairs:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(str(value))}"' for key, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
