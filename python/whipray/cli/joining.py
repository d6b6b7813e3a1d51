"""How a command looks into a session: as a driver that starts nothing and says nothing."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator

from whipray import _core
from whipray._private import machine


def add_address(parser: argparse.ArgumentParser) -> None:
    """The option that says which session is meant."""
    parser.add_argument(
        "--address",
        help="unix:<socket> of the session; default: WHIPRAY_ADDRESS, RAY_ADDRESS, else the one "
        "that `whipray start` started last, else the newest that a program started",
    )


def socket_of(address: str | None) -> str:
    """Path of the socket of the session meant; ConnectionError if there is none."""
    found = machine.find_address(address or "auto")
    if found is None:
        raise ConnectionError("there is no session with the address 'local'")
    return found


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[str]:
    """Be a driver of the session for a while; yields the session's directory."""
    import whipray

    path = socket_of(address)
    whipray.init(f"unix:{path}", log_to_driver=False, namespace="_whipray_cli", _no_workers=True)
    try:
        yield str(_core.info()["session_dir"])
    finally:
        whipray.shutdown()


def session_dir(address: str | None) -> str:
    """Directory of the session meant, without joining it."""
    return os.path.dirname(socket_of(address))
