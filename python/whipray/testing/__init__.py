"""Tools for testing programs that use Whipray; Whipray's own tests use the same ones.

`assert_no_leaks` fails when a block of code leaves processes or open files behind.  The pytest
plugin lives in `whipray.testing.plugin`; pytest finds it by itself, so its fixtures need no import.
"""

from __future__ import annotations

from .leaks import Leaks, assert_no_leaks

__all__ = ["Leaks", "assert_no_leaks"]
