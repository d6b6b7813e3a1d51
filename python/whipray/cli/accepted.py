"""Options that scripts give Ray's commands, and that have nothing to do here: accepted in silence.

There are no ports, no page, no other node and no style of log lines.  What such an option would
bring is not there, and nothing is missing that a program on one machine would notice.
"""

from __future__ import annotations

import argparse

START = (
    "node-ip-address node-name redis-username redis-password redis-shard-ports port "
    "object-manager-port node-manager-port min-worker-port max-worker-port worker-port-list "
    "ray-client-server-port include-dashboard dashboard-host dashboard-port "
    "dashboard-agent-listen-port dashboard-agent-grpc-port runtime-env-agent-port "
    "plasma-directory metrics-export-port tracing-startup-hook include-log-monitor "
    "system-reserved-cpu system-reserved-memory cgroup-path proxy-server-url"
).split()
"""Of `start`, with a value."""
START_SWITCHES = (
    "no-redirect-output enable-object-reconstruction no-monitor ray-debugger-external "
    "disable-usage-stats enable-resource-isolation"
).split()
"""Of `start`, without one."""


def add_start(parser: argparse.ArgumentParser) -> None:
    """Those of `start`."""
    _add_values(parser, START)
    for name in START_SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)


def add_style(parser: argparse.ArgumentParser, verbose: bool = True) -> None:
    """How Ray's commands write their lines."""
    _add_values(parser, ["log-style", "log-color"])
    if verbose:
        parser.add_argument("-v", "--verbose", action="count", default=0, help=argparse.SUPPRESS)


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """How long Ray's server may take; nobody is asked here."""
    _add_values(parser, ["timeout"])


def add_http(parser: argparse.ArgumentParser) -> None:
    """How Ray's commands talk to a server."""
    _add_values(parser, ["verify", "headers"])


def _add_values(parser: argparse.ArgumentParser, names: list[str]) -> None:
    for name in names:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
