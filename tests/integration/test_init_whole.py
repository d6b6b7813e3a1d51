"""init() opens a session or leaves nothing: whatever fails in it, and whoever else calls it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray import _core
from whipray._private import labels, monitor
from whipray._private import worker as worker_module
from whipray.testing import assert_no_leaks


@whipray.remote
def echo(value: Any) -> Any:
    return value


def fail(error: BaseException) -> Callable[..., Any]:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    return failing


STEPS = {
    "labels": (labels, "publish"),
    "context": (worker_module, "_opened"),
    "thread": (monitor, "start"),
    "environment": (worker_module, "_enter_job_env"),
}


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()], ids=["memory", "interrupt"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_no_session(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name = STEPS[step]
    given: dict[str, Any] = {"num_cpus": 1, "_temp_dir": str(tmp_path)}
    if step == "environment":
        given["runtime_env"] = {"working_dir": str(tmp_path)}
    with assert_no_leaks(timeout=60, mappings=True):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fail(error))
            with pytest.raises(type(error)):
                whipray.init(**given)
        assert not _core.attached() and not whipray.is_initialized()
        assert not list(tmp_path.glob("whipray-*/session_*"))
        whipray.init(num_cpus=1)
        assert whipray.get(echo.remote(7)) == 7
        whipray.shutdown()


def test_threads_that_need_a_session_share_one() -> None:
    """Whoever comes first opens it, the others wait for it."""
    threads_n = 8
    together = threading.Barrier(threads_n)
    answers: list[Any] = []

    def use(n: int) -> None:
        together.wait()
        try:
            answers.append((whipray.get(echo.remote(n)), _core.info()["session"]))
        except BaseException as error:
            answers.append(error)

    with assert_no_leaks(timeout=60, mappings=True):
        threads = [threading.Thread(target=use, args=(n,)) for n in range(threads_n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        session = _core.info()["session"]
        assert sorted(answers) == [(n, session) for n in range(threads_n)]
        whipray.shutdown()


def test_of_threads_that_call_init_one_opens_the_session() -> None:
    threads_n = 4
    together = threading.Barrier(threads_n)
    outcomes: list[str] = []

    def open_it() -> None:
        together.wait()
        try:
            whipray.init(num_cpus=1)
            outcomes.append("opened")
        except RuntimeError as error:
            outcomes.append("twice" if "called ray.init twice" in str(error) else str(error))

    with assert_no_leaks(timeout=60, mappings=True):
        threads = [threading.Thread(target=open_it) for _ in range(threads_n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["opened"] + ["twice"] * (threads_n - 1)
        assert whipray.get(echo.remote(1)) == 1
        whipray.shutdown()


AT_EXIT = """
import gc
import whipray

class Late:
    def __del__(self):
        try:
            whipray.put(1)
        except RuntimeError as error:
            print(error)

whipray.init(num_cpus=1)
gc.disable()
late = Late()
late.itself = late
del late
gc.enable()
"""


def test_what_is_collected_at_the_end_of_the_interpreter_starts_no_session() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the interpreter is ending: no session can be started any more\n"
