"""One part of a sweep, in a process of its own that has interpose.so preloaded.

usage: python -m tests.faults.sweep OPERATION ROLE KIND FIRST STEP WAYS

OPERATION is a name of operations.py.  ROLE is whose calls fail: driver, daemon, forker or worker.
KIND: calls (of the system), memory (of the engine) or python (memory of the interpreter that the
engine asks for).  The calls
FIRST, FIRST + STEP, ... fail, each in WAYS ways, once and for good, until there are no more of
them.  A line says what is tried next; whatever then goes wrong ends the process.  The last line is
"done" and the number of failures there were.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import whipray
from tests.crash.helpers import wait_until_whole
from tests.faults import operations
from whipray import _core
from whipray.testing import assert_no_leaks

WATCHDOG_SECONDS = int(os.environ.get("FAULTS_SECONDS", "150"))
KINDS = {"calls": 1, "memory": 2, "python": 3}
NOTHING = {"violations": 0, "objects": 0, "value_bytes": 0, "actors": 0, "holds": 0}
"""What lives in a session in which everything has been let go of."""
ALLOWED = (OSError, MemoryError, whipray.exceptions.RayError)
"""What an operation may raise: anything else is no way to say that a call has failed."""


class Shim:
    """interpose.so in this process."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(None)
        self._lib.fault_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self._lib.fault_disarm.restype = ctypes.c_long
        self._lib.fault_last.restype = ctypes.c_char_p
        self._lib.fault_watch_python()

    @contextmanager
    def armed(self, kind: str, n: int, way: int, for_good: bool) -> Iterator[list[int]]:
        """The n-th call of this process fails; the list gets how many did."""
        failures: list[int] = []
        self._lib.fault_arm(KINDS[kind], n, way, for_good)
        try:
            yield failures
        finally:
            failures.append(self._lib.fault_disarm())

    def last(self) -> str:
        text: bytes = self._lib.fault_last()
        return text.decode()

    def crash(self) -> int:
        """Signal by which a child of this process has crashed since the last call; 0: none."""
        signal: int = self._lib.fault_crash()
        return signal


def attempt(operation: Callable[[], None]) -> BaseException | None:
    """Do it; returns how it failed, if in a way that is allowed."""
    try:
        operation()
    except ALLOWED as error:
        if isinstance(error, whipray.exceptions.GetTimeoutError):
            raise
        return error
    return None


def say(text: str) -> None:
    print(text, flush=True)


# ---- a driver's own calls -------------------------------------------------------------------


class InSession:
    """Sweeps over an operation in a session that is used again as long as it lives."""

    def __init__(self, shim: Shim, operation: Callable[[], None]) -> None:
        self.shim, self.operation = shim, operation

    def prepare(self) -> None:
        """A session that has done the operation before: what is loaded and cached is there."""
        if _core.attached():
            return
        whipray.shutdown()
        operations.open_session()
        self.operation()
        operations.clean_up()
        gc.collect()
        wait_until_whole(NOTHING)

    def run(self, kind: str, n: int, way: int, for_good: bool) -> bool:
        """One try; whether a call failed."""
        self.prepare()
        with self.shim.armed(kind, n, way, for_good) as failures:
            error = attempt(self.operation)
        say(f"  {self.shim.last()}: {type(error).__name__}: {error}")
        failed = bool(failures[0])
        del error
        gc.collect()
        attempt(operations.clean_up)
        if _core.attached():
            operations.task()
            wait_until_whole(NOTHING)
        else:
            self.check_end()
        return failed

    def check_end(self) -> None:
        """It has ended, or will as soon as the daemon notices: whoever uses it is told."""
        error = None
        while error is None:
            error = attempt(operations.task)
        assert isinstance(error, whipray.exceptions.RayError), error


class Alone:
    """Sweeps over an operation that opens and closes its session."""

    def __init__(self, shim: Shim, operation: Callable[[], None], role: str) -> None:
        self.shim, self.operation, self.role = shim, operation, role
        self.operation()

    def run(self, kind: str, n: int, way: int, for_good: bool) -> bool:
        with assert_no_leaks(mappings=True, timeout=10):
            failed = (
                self._driver(kind, n, way, for_good)
                if self.role == "driver"
                else self._other(kind, n, way, for_good)
            )
            gc.collect()
        signal = self.shim.crash()
        assert not signal, f"whiprayd has crashed: signal {signal}"
        return failed

    def _driver(self, kind: str, n: int, way: int, for_good: bool) -> bool:
        with self.shim.armed(kind, n, way, for_good) as failures:
            error = attempt(self.operation)
        say(f"  {self.shim.last()}: {type(error).__name__}: {error}")
        whipray.shutdown()
        return bool(failures[0])

    def _other(self, kind: str, n: int, way: int, for_good: bool) -> bool:
        report = Path(os.environ["FAULTS_FOLDER"], "report")
        report.unlink(missing_ok=True)
        os.environ["WHIPRAY_FAULT"] = f"{self.role}:{kind}:{n}:{way}:{int(for_good)}"
        os.environ["WHIPRAY_FAULT_REPORT"] = str(report)
        try:
            error = attempt(self.operation)
        finally:
            del os.environ["WHIPRAY_FAULT"]
            if report.exists():
                say(report.read_text()[:3000])
        say(f"  {type(error).__name__}: {error}")
        attempt(operations.clean_up)
        whipray.shutdown()
        return report.exists()


# ---- the sweep -------------------------------------------------------------------------------


def sweep(tries: Any, kind: str, first: int, step: int, ways: int) -> int:
    """Returns how many tries met a call that failed."""
    met, n = 0, first
    while True:
        found = False
        for for_good in (False, True):
            for way in range(ways):
                say(f"n={n} way={way} for_good={for_good}")
                faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True)
                found |= tries.run(kind, n, way, for_good)
                met += 1
                faulthandler.cancel_dump_traceback_later()
        if not found:
            return met
        n += step


def main() -> None:
    name, role, kind = sys.argv[1:4]
    first, step, ways = map(int, sys.argv[4:])
    faulthandler.enable()
    threading.excepthook = fail_with
    operation = operations.NAMES[name]
    with tempfile.TemporaryDirectory(prefix="wr-faults-") as folder:
        os.environ["WHIPRAY_DAEMON_OUTPUT"] = "1"
        os.environ["FAULTS_FOLDER"] = os.environ["WHIPRAY_TMPDIR"] = folder
        shim = Shim()
        tries = (
            InSession(shim, operation)
            if role == "driver" and operation in operations.DRIVER
            else Alone(shim, operation, role)
        )
        met = sweep(tries, kind, first, step, ways)
        whipray.shutdown()
    say(f"done {met}")


def fail_with(what: Any) -> None:
    """A thread of this process that ends with an exception fails the sweep."""
    sys.__excepthook__(what.exc_type, what.exc_value, what.exc_traceback)
    os._exit(3)


if __name__ == "__main__":
    main()
