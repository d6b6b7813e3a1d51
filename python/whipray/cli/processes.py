"""`whipray health-check`, `stack` and `kill-actor`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from typing import Any

from whipray import _core
from whipray.cli import accepted, joining

COMPONENTS = ("ray_client_server", "serve")


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    health = commands.add_parser(
        "health-check", help="exit code 0 if a session runs and answers, 1 if not"
    )
    health.add_argument("--component", help=argparse.SUPPRESS)
    health.add_argument("--skip-version-check", action="store_true", help=argparse.SUPPRESS)
    joining.add_address(health)
    health.set_defaults(run=_health)
    stack = commands.add_parser("stack", help="where each process is in its Python code (py-spy)")
    joining.add_address(stack)
    stack.set_defaults(run=_stack)
    kill = commands.add_parser("kill-actor", help="end a named actor")
    kill.add_argument("--name", required=True, help="of the actor")
    kill.add_argument("--namespace", help="where it has that name, if several have")
    kill.add_argument("--force", action="store_true", help="kill it while it runs a call")
    kill.add_argument("--no-restart", action="store_true", help="with --force: for good")
    joining.add_address(kill)
    kill.set_defaults(run=_kill_actor)
    accepted.add_style(kill)


def _health(options: argparse.Namespace) -> int:
    if options.component is not None:
        raise ValueError(f"there is no component {options.component!r}: a session is one daemon")
    with joining.joined(options.address):
        return 0


def _stack(options: argparse.Namespace) -> int:
    spy = shutil.which("py-spy")
    if spy is None:
        raise ValueError(
            "py-spy, which reads the stacks, is not installed (`pip install py-spy`); `whipray "
            "debug dump` shows what each process waits for"
        )
    with joining.joined(options.address):
        from whipray.util.state.rows import DRIVER, WORKER

        own = _core.info().get("pid")
        pids = [row["pid"] for row in _core.procs() if row["role"] in (DRIVER, WORKER)]
    failed = 0
    for pid in pids:
        if pid != own:
            sys.stdout.flush()
            failed |= subprocess.run([spy, "dump", "--pid", str(pid)]).returncode != 0
    return int(failed)


def _kill_actor(options: argparse.Namespace) -> int:
    with joining.joined(options.address):
        import whipray

        actor = whipray.get_actor(options.name, _namespace(options.name, options.namespace))
        if options.force:
            whipray.kill(actor, no_restart=options.no_restart)
            print(f"Actor killed (force): {options.name}")
        else:  # a call goes with the driver that makes it, so it is waited for
            whipray.wait([actor.__ray_terminate__.remote()])
            print(f"Actor ended: {options.name}")
    return 0


def _namespace(name: str, wanted: str | None) -> str:
    """The namespace that has an actor of this name: the one wanted, or the only one."""
    found = [space for known, space in _core.named_actors() if known == name]
    if wanted is not None:
        found = [space for space in found if space == wanted]
    if not found:
        raise ValueError(f"No named actor found: {name} (namespace={wanted})")
    if len(found) > 1:
        raise ValueError(f"several namespaces have an actor {name!r}, name one of {found}")
    return found[0]
