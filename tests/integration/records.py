"""Do the shared records of the session under test agree with each other?"""

from __future__ import annotations

from tests.compat.helpers import PATIENCE, wait_until
from whipray import _core


def wait_until_whole() -> None:
    """Waits until the audit of the shared records finds nothing wrong.

    A worker gives back what its last task held after the caller already has the result, so the
    records may be out of step for a moment; what stays out of step fails with the audit's text.
    """
    try:
        wait_until(lambda: _core.audit()["violations"] == 0, PATIENCE / 4)
    except AssertionError:
        audit = _core.audit()
        assert audit["violations"] == 0, audit["text"]
