"""Every program gives here what Ray has given; see record.py for how Ray was asked."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from . import record
from .catalogue import Program, Ray, programs

ANSWERS: dict[str, Any] = json.loads(record.ANSWERS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    record.prepare()
    engine = importlib.import_module("whipray")
    yield engine
    engine.shutdown()


@pytest.fixture
def session(ray: Ray, entry: Program) -> Ray:
    """The engine with the session that the program needs, shared with those before it."""
    if getattr(ray, "_differential_init", None) != entry.init or not ray.is_initialized():
        ray.shutdown()
        record.start(ray, entry.init)
        ray.__dict__["_differential_init"] = entry.init
    return ray


@pytest.mark.parametrize("entry", [pytest.param(e, id=n) for n, e in programs().items()])
def test_answer(session: Ray, entry: Program) -> None:
    seen = json.loads(json.dumps(record.run(session, entry)))
    recorded = ANSWERS[entry.name]
    if entry.differs:
        assert seen != recorded, f"no longer differs from Ray: {entry.differs}"
    else:
        assert seen == recorded


def test_every_answer_has_its_program() -> None:
    assert set(ANSWERS) == set(programs())
