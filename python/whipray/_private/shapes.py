"""Which queue work goes to: its shape, that is what it claims and in which environment it runs."""

from __future__ import annotations

import os
import sys
from typing import Any

from whipray import _core
from whipray._private import session_kv, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whipray._private import strategies

FEW_TICKETS, MANY_TICKETS = 64, 4096
"""Among few none is looked for that has become useless; many are more than a session has queues."""
NO_SUCH_NODE = "node with other labels"
"""A resource that no node has."""


def shape_of(
    resources: dict[str, float],
    runtime_env: dict[str, Any] | None,
    target: strategies.Target | None = None,
) -> int:
    """Ticket of the queue for work with these resources and environment, in the open session.

    It is worth nothing once `_core.is_current` denies it.
    """
    epoch = _core.epoch()
    if worker.state.shapes_epoch != epoch:
        worker.state.shapes.clear()
        worker.state.shapes_epoch = epoch
    unmatched = target.unmatched if target else ""
    place = (*target.numbers(), target.bundle + 1) if target and target.group else (0, 0, 0)
    env = pool_env(runtime_env)
    group = target.group.id.binary() if target and target.group else b""
    amounts = tuple(sorted(resources.items()))
    key = (group, place[2], amounts, env.get(worker.ENV_KEY), unmatched)
    found = worker.state.shapes.get(key)
    if found is None or not _core.is_current(found):
        asked = {**resources, NO_SUCH_NODE: 1.0} if unmatched else resources
        found = _core.shape(asked, env, *place)
        _keep(key, found)
        if env:
            _publish(found, env[worker.ENV_KEY])
        if unmatched:
            say_hopeless(
                "A task or actor", f"a node with {unmatched}", "this session's only node is not so"
            )
        elif not place[0]:
            _warn_of_the_impossible(resources)
    return found


def _keep(key: Any, ticket: int) -> None:
    """Tickets of removed groups go each time that there are twice as many as were left then: else
    a program that makes one group after another would keep them all."""
    known = worker.state.shapes
    if len(known) >= worker.state.shapes_limit:
        known = {k: t for k, t in known.copy().items() if _is_of_use(k[0], t)}
        if len(known) > MANY_TICKETS:
            known = {}
        worker.state.shapes = known
        worker.state.shapes_limit = max(FEW_TICKETS, 2 * len(known))
    known[key] = ticket


def _is_of_use(group: bytes, ticket: int) -> bool:
    from whipray._private.strategies import is_removed

    return _core.is_current(ticket) and not (group and is_removed(group))


_SPACE = "whipray.environments"
"""Where the texts of environments are kept by number, for listings."""


def _publish(ticket: int, text: str) -> None:
    row = _core.shape_row(ticket & 0xFFF)
    if row is not None:
        session_kv.publish(_SPACE, row[1].to_bytes(4, "little"), text)


def env_text(number: int) -> str:
    """A resolved environment as JSON; 0: that of workers without any."""
    if not number:  # what a pool had whose number has been used again says nothing
        return "{}"
    return str(session_kv.published(_SPACE, number.to_bytes(4, "little")) or "{}")


def say_hopeless(who: str, wanted: Any, there: str) -> None:
    """What asks for what this session never has waits for ever, as in Ray; but say so."""
    sys.stderr.write(
        f"(whipray) {who} asks for {wanted}, but {there}: it will wait for ever. Cancel it, ask "
        "for less, or give init() more.\n"
    )


def beyond(resources: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Of the resources those of which there is less, and how much there is of them."""
    totals = {name: total for name, total, _ in _core.resources()}
    missing = {name: n for name, n in resources.items() if n > totals.get(name, 0)}
    return missing, {name: totals.get(name, 0.0) for name in missing}


def _warn_of_the_impossible(resources: dict[str, float]) -> None:
    missing, there = beyond(resources)
    if missing:
        say_hopeless("A task or actor", missing, f"this session has only {there}")


def pool_env(runtime_env: dict[str, Any] | None) -> dict[str, str]:
    """Variables of the workers that have `runtime_env`, merged over that of the process that asks.

    {} for the job's own workers.  The resolved environment is one of the variables: a worker reads
    there what it has to enter, and what to hand on.
    """
    parent = inherited_env()
    if not runtime_env:
        return tagged_env(parent)
    from whipray._private.envs import fields, resolve

    known = {**os.environ, **worker.state.job_env, **parent.get("env_vars", {})}
    checked = fields.checked(runtime_env)
    return tagged_env(fields.merge(parent, resolve.resolved(checked, known)))


def inherited_env() -> dict[str, Any]:
    """The resolved environment that work submitted here starts from."""
    if not worker.state.is_worker:
        return worker.state.inherited
    if not os.environ.get(worker.ENV_KEY):
        return {}
    from whipray._private.envs import enter

    return enter.own()


def tagged_env(env: dict[str, Any]) -> dict[str, str]:
    """The variables of a resolved environment, with the text of it."""
    if not env:
        return {}
    from whipray._private.envs import resolve

    return {**env.get("env_vars", {}), worker.ENV_KEY: resolve.text_of(env)}
