"""An actor with threads goes on with those that the system gives it."""

from __future__ import annotations

import threading
import time
from typing import Any

import whipray
from whipray.testing import assert_no_leaks


@whipray.remote(max_concurrency=4)
class Threaded:
    """From its first call on, no thread can be started in its process."""

    def __init__(self) -> None:
        self.refused = 0

    def refuse(self) -> str:
        def start(thread: Any) -> None:
            self.refused += 1
            raise RuntimeError("can't start new thread")

        threading.Thread.start = start  # type: ignore[method-assign]
        return threading.current_thread().name

    def echo(self, value: int) -> tuple[int, str]:
        if value % 20 == 0:
            time.sleep(0.05)  # those behind it look for other threads
        return value, threading.current_thread().name

    def count(self) -> int:
        return self.refused


def test_calls_run_in_the_threads_that_there_are() -> None:
    with assert_no_leaks(timeout=60):
        whipray.init(num_cpus=1)
        actor = Threaded.remote()
        only = whipray.get(actor.refuse.remote())
        answers = whipray.get([actor.echo.remote(n) for n in range(200)])
        assert [value for value, _ in answers] == list(range(200))
        assert {name for _, name in answers} == {only}
        assert whipray.get(actor.count.remote()) > 0
        whipray.shutdown()
