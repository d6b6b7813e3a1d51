"""`python -m whipray COMMAND ...`."""

from whipray.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
