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


def _parser() -> argparse.ArgumentParser:
    from whipray import __version__
    from whipray.cli import debug, jobs, listing, sessions

    parser = argparse.ArgumentParser(
        prog="whipray", description="Sessions that outlive a program, and what goes on in them."
    )
    parser.add_argument("--version", action="version", version=f"whipray {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (sessions, listing, jobs, debug):
        module.add_commands(commands)
    commands.add_parser(
        "run", help="run a script in which `import ray` means Whipray", add_help=False
    )
    return parser
