"""The command line: `whipray COMMAND ...` or `python -m whipray COMMAND ...`.

Written with argparse, so that the package needs nothing it does not need without a command line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["run"]:  # what follows is for the script
        from whipray.compat import run

        run.main(arguments[1:])
        return 0
    parsed = _parser().parse_args(arguments)
    try:
        code = int(parsed.run(parsed) or 0)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return _nobody_reads()
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        print(f"whipray: {error}", file=sys.stderr)
        return 1


def _nobody_reads() -> int:
    """`whipray ... | head` is no mistake; what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 128 + signal.SIGPIPE


def _is_ray() -> bool:
    """Whether it has been called by the name of Ray's command."""
    return os.path.basename(sys.argv[0]) == "ray"


def _parser() -> argparse.ArgumentParser:
    from whipray import __version__
    from whipray.cli import absent, debug, jobs, listing, logs, memory, processes, sessions, status
    from whipray.compat import VERSION

    parser = argparse.ArgumentParser(
        prog="ray" if _is_ray() else "whipray",
        description="Sessions that outlive a program, and what goes on in them.",
    )
    shown = f"ray, version {VERSION}" if _is_ray() else f"whipray {__version__}"
    parser.add_argument("--version", action="version", version=shown)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    parts = (sessions, status, listing, memory, logs, jobs, processes, debug, absent)
    for module in parts:
        module.add_commands(commands)
    commands.add_parser(
        "run", help="run a script in which `import ray` means Whipray", add_help=False
    )
    return parser
