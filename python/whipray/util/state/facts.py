"""What rows of several kinds are made of: processes, functions, actors, and what work asks for."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from whipray import _core
from whipray._private import hooks, labels, pickled_names, shapes
from whipray._private.ids import JobID, node_id_of, worker_id_of
from whipray._private.options import IMPLICIT_RESOURCE

Row = dict[str, Any]


class Session:
    """What all rows have in common, and the processes, read once for a listing."""

    def __init__(self) -> None:
        self.info = _core.info()
        self.node = node_id_of(str(self.info.get("session", ""))).hex()
        self.procs = {row["slot"]: row for row in _core.procs()}
        self._boot_ms = time.time() * 1000 - time.monotonic() * 1000
        self._functions: dict[bytes, tuple[str, str, Row]] = {}
        self._actors: dict[bytes, ActorFacts] = {}
        self._demands: dict[int, Demand] = {}
        self._envs: dict[int, str] = {}

    def job(self, slot: int) -> str:
        """Id of the job that the process of `slot` belongs to."""
        return JobID.from_int(self.procs.get(slot, {"job": 0})["job"]).hex()

    def worker(self, slot: int) -> str | None:
        """Id of the process of `slot`."""
        row = self.procs.get(slot)
        if row is None:
            return None
        return worker_id_of(str(self.info.get("session", "")), slot, row["gen"]).hex()

    def time_ms(self, started_ns: int) -> int | None:
        """A time of the monotonic clock as milliseconds since 1970."""
        return int(self._boot_ms + started_ns / 1e6) if started_ns else None

    def function(self, export: bytes | None) -> tuple[str, str, Row]:
        """(shown name, own name, options that tell) of an exported function."""
        if export is None:
            return "", "", {}
        if export not in self._functions:
            self._functions[export] = pickled_names.told(export)
        return self._functions[export]

    def actor(self, actor: bytes) -> ActorFacts:
        """What is known of an actor; nothing if it is gone."""
        if not self._actors:
            self._actors = {row["id"]: ActorFacts(row) for row in _core.actors()}
        return self._actors.get(actor, _GONE)

    def demand(self, shape: int) -> Demand:
        """What work of that shape claims, in which placement group and environment."""
        if shape not in self._demands:
            row = _core.shape_row(shape)
            if row is None:
                return _NOTHING
            resources, env, raw, bundle = row
            if env not in self._envs:
                self._envs[env] = shapes.env_text(env)
            group = raw.hex() if raw else None
            self._demands[shape] = Demand(_named(resources, group, bundle), group, self._envs[env])
        return self._demands[shape]


def _named(resources: dict[str, float], group: str | None, bundle: int) -> dict[str, float]:
    """The resources under the names that a placement group gives them."""
    shown = {k: v for k, v in resources.items() if not k.startswith(IMPLICIT_RESOURCE)}
    if group is None:
        return shown
    ends = [f"_group_{group}", *([f"_group_{bundle}_{group}"] if bundle >= 0 else [])]
    return {name + end: n for name, n in {**shown, "bundle": 0.001}.items() for end in ends}


class Demand(NamedTuple):
    """What work asks for: resources, group, environment as JSON."""

    resources: dict[str, float]
    group: str | None
    env: str


_NOTHING = Demand({}, None, "{}")


class ActorFacts:
    """The record of an actor and the description of its class, which is read when it is needed."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self._described: tuple[dict[int, str], Row] | None = None

    @property
    def shown(self) -> str:
        """Name of the class."""
        return str(self.row.get("cls_name", ""))

    @property
    def methods(self) -> dict[int, str]:
        """Names of methods by number."""
        return self._facts()[0]

    @property
    def asked(self) -> Row:
        """What it asks of the labels of its node."""
        return self._facts()[1]

    def _facts(self) -> tuple[dict[int, str], Row]:
        if self._described is None:
            try:
                packed = _core.export_bytes(_core.ObjectRef(self.row["description"]))
                methods, facts = hooks.describe(packed)
            except Exception:
                methods, facts = {}, {}  # let go of meanwhile
            self._described = {info[0]: name for name, info in methods.items()}, facts
        return self._described


_GONE = ActorFacts({})


def label_columns(asked: Row, none: Row | None) -> Row:
    """The columns that tell what is asked of labels; `none`: what no fallback is."""
    fallback = asked.get("fallback_strategy")
    options = [
        {"label_selector": {"label_constraints": _constraints(one["label_selector"])}}
        for one in fallback or ()
    ]
    return {
        "label_selector": dict(asked.get("label_selector") or {}),
        "fallback_strategy": {"options": options} if fallback else none,
    }


def _constraints(selector: dict[str, str]) -> list[Row]:
    return [
        {
            "label_key": key,
            "operator": f"LABEL_OPERATOR_{'NOT_' * value.startswith('!')}IN",
            "label_values": labels.values_of(value),
        }
        for key, value in selector.items()
    ]
