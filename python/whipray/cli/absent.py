"""Commands of Ray that can do nothing here: each says at once why, and what to do instead."""

from __future__ import annotations

import argparse
from typing import Any

_CLUSTERS = "sessions have one machine, so there are no clusters to launch or reach"
_DASHBOARD = "there is no dashboard: `whipray status`, `list`, `summary` and `memory` tell"
_DUMP = "`whipray debug dump` and `whipray logs` show what a session has"

_REASONS = {
    **dict.fromkeys(
        "up down attach exec submit monitor rsync-up rsync-down get-head-ip get-worker-ips "
        "kill-random-node drain-node kuberay-autoscaler symmetric-run".split(),
        _CLUSTERS,
    ),
    "dashboard": _DASHBOARD,
    "metrics": "no server is run: `util.metrics.prometheus_text()` gives the text to serve",
    "local-dump": _DUMP,
    "cluster-dump": _DUMP,
    "global-gc": "values go with their last reference; call gc.collect() in the process that "
    "keeps them",
    "get-auth-token": "sessions are reached through a socket that their user alone may open",
    "check-open-ports": "no port is opened",
    "cpp": "programs are written in Python",
    "microbenchmark": "run the programs of `benchmarks` in the sources",
}


def add_commands(commands: Any) -> None:
    """Add the commands to the parser; its help does not show them."""
    for name, reason in _REASONS.items():
        command = commands.add_parser(name, add_help=False, prefix_chars="\0")
        command.add_argument("given", nargs="*")
        command.set_defaults(run=_refuse, name=name, reason=reason)
    for name in ("disable-usage-stats", "enable-usage-stats"):
        commands.add_parser(name).set_defaults(run=_say_no_statistics)


def _refuse(options: argparse.Namespace) -> int:
    raise ValueError(f"`{options.name}` is not available: {options.reason}")


def _say_no_statistics(options: argparse.Namespace) -> int:
    print("Usage statistics are never collected.")
    return 0
