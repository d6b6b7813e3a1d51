"""`python -m whipray COMMAND ...`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that is named first."""
    command, arguments = sys.argv[1:2], sys.argv[2:]
    if command == ["run"]:
        from whipray.compat import run

        run.main(arguments)
        return
    print("usage: python -m whipray run script.py [arguments]", file=sys.stderr)
    raise SystemExit(0 if command in (["-h"], ["--help"]) else 2)


if __name__ == "__main__":
    main()
