"""How a driver ends, and what must end with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from .helpers import process_gone, wait_until

Script = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., str]

BUSY = """
import os, sys, time
ray.init(**INIT)

@ray.remote
def busy(path):
    with open(path + ".tmp", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".tmp", path)
    while True:
        time.sleep(0.1)

@ray.remote
class Actor:
    def pid(self):
        return os.getpid()

path = __file__ + ".pid"
ref = busy.remote(path)
actor = Actor.remote()
actor_pid = ray.get(actor.pid.remote())
while not os.path.exists(path):
    time.sleep(0.01)
print("pids", open(path).read(), actor_pid, flush=True)
"""

INTERRUPTIBLE = """
try:
    print("blocking", flush=True)
    {}
except KeyboardInterrupt:
    print("interrupted")
"""

TERMINABLE = """
import atexit
atexit.register(lambda: print("handler", flush=True))
try:
    print("blocking", flush=True)
    {}
except SystemExit:
    print("leaving", flush=True)
    raise
finally:
    print("finally", flush=True)
"""

HANDLING = """
import signal
handled = []
signal.signal(signal.SIGTERM, lambda *_: handled.append(1))
print("blocking", flush=True)
while not handled:
    time.sleep(0.01)
print("handled", flush=True)
"""


def pids_of(process: subprocess.Popen[str]) -> list[int]:
    """The process ids that a script of the form BUSY prints."""
    assert process.stdout is not None
    seen = []
    while line := process.stdout.readline():
        if line.startswith("pids "):
            return [int(word) for word in line.split()[1:]]
        seen.append(line)
    raise AssertionError("".join(seen))


def after_signal(process: subprocess.Popen[str], number: int) -> tuple[list[int], str]:
    """The pids of its workers, and what it has written since it got the signal as it blocked."""
    pids = pids_of(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "blocking\n"
    os.kill(process.pid, number)
    return pids, process.communicate()[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_when_the_driver_is_killed(script: Script, number: signal.Signals) -> None:
    process = script(BUSY + "\nsys.stdin.read()\n")
    pids = pids_of(process)
    assert not any(process_gone(pid) for pid in pids)
    os.kill(process.pid, number)
    process.wait()
    wait_until(lambda: all(process_gone(pid) for pid in pids))


@pytest.mark.parametrize(
    "ending", ["pass", "ray.shutdown()", "sys.exit(0)", "os._exit(0)"], ids=lambda e: e
)
def test_workers_end_when_the_driver_ends(script: Script, ending: str) -> None:
    process = script(BUSY + f"\n{ending}\n")
    pids = pids_of(process)
    process.communicate()
    assert process.returncode == 0
    wait_until(lambda: all(process_gone(pid) for pid in pids))


def test_workers_end_when_the_driver_raises(script: Script) -> None:
    process = script(BUSY + "\nraise ValueError('driver failed')\n")
    pids = pids_of(process)
    assert process.stdout is not None
    output = process.stdout.read()
    process.wait()
    assert process.returncode == 1
    assert "driver failed" in output
    wait_until(lambda: all(process_gone(pid) for pid in pids))


def test_uncaught_remote_error_ends_the_driver_with_its_text(run_script: Run) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        @ray.remote
        def fail():
            raise ValueError("nobody catches this")
        ray.get(fail.remote())
        """,
        code=1,
    )
    assert "ValueError" in output
    assert "nobody catches this" in output


def test_interrupt_of_a_blocking_get(script: Script) -> None:
    process = script(BUSY + INTERRUPTIBLE.format("ray.get(ref)"))
    _, output = after_signal(process, signal.SIGINT)
    assert "interrupted" in output
    assert process.returncode == 0


def test_interrupt_of_a_blocking_wait(script: Script) -> None:
    process = script(BUSY + INTERRUPTIBLE.format("ray.wait([ref])"))
    _, output = after_signal(process, signal.SIGINT)
    assert "interrupted" in output


@pytest.mark.parametrize("blocking", ["ray.get(ref)", "ray.wait([ref])", "time.sleep(60)"])
def test_termination_is_a_system_exit_in_the_main_thread(script: Script, blocking: str) -> None:
    process = script(BUSY + TERMINABLE.format(blocking))
    pids, output = after_signal(process, signal.SIGTERM)
    assert re.findall(r"leaving|finally|handler", output) == ["leaving", "finally", "handler"]
    assert process.returncode != 0  # 15, but Ray aborts when it is at the end of some of these
    wait_until(lambda: all(process_gone(pid) for pid in pids))


def test_a_handler_of_the_programs_own_is_called_at_termination(script: Script) -> None:
    process = script(BUSY + HANDLING)
    _, output = after_signal(process, signal.SIGTERM)
    assert "handled" in output
    assert process.returncode == 0


def test_after_the_session_termination_ends_the_process_at_once(script: Script) -> None:
    process = script(BUSY + "\nray.shutdown()" + TERMINABLE.format("time.sleep(60)"))
    _, output = after_signal(process, signal.SIGTERM)
    assert "finally" not in output
    assert process.returncode == -signal.SIGTERM


def test_exit_handlers_of_the_driver_may_still_use_the_api(run_script: Run) -> None:
    output = run_script(
        """
        import atexit
        ray.init(**INIT)
        ref = ray.remote(lambda: "from the handler").remote()
        atexit.register(lambda: print(ray.get(ref)))
        """
    )
    assert "from the handler" in output


def test_globals_with_references_and_handles_at_exit(run_script: Run) -> None:
    run_script(
        """
        import numpy as np
        ray.init(**INIT)
        @ray.remote
        class Actor:
            def value(self):
                return np.zeros(200_000)
        actor = Actor.remote()
        refs = [ray.put(np.zeros(200_000)), actor.value.remote()]
        values = ray.get(refs)
        future = refs[1].future()
        class Late:
            def __del__(self):
                refs.clear()
        late = Late()
        """
    )


def test_values_stay_valid_after_shutdown_or_fail_cleanly(run_script: Run) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        ref = ray.put([1, 2])
        value = ray.get(ref)
        ray.shutdown()
        print(value)
        del ref
        """
    )
    assert "[1, 2]" in output


def test_fork_of_the_driver_leaves_the_parent_working(run_script: Run) -> None:
    output = run_script(
        """
        import os
        ray.init(**INIT)
        ref = ray.put("parent")
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        print(ray.get(ref), ray.get(ray.remote(lambda: "task").remote()))
        """
    )
    assert "parent task" in output
