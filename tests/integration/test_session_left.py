"""A session is left in the middle of what a program does with it: an error, and nothing mixed up.

Other threads run while values are pickled and unpickled and while a call waits, and one of them may
call shutdown() and init().  Here the program's own code does it, at the moment that counts.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import sys
import whipray

AGAIN = sys.argv[1] == "again"
ACTION = sys.argv[2]


def leave():
    whipray.shutdown()
    if AGAIN:
        whipray.init(num_cpus=1)
        sys.others = [whipray.put(i) for i in range(100)]  # there is more than one leave()
    return 7


class Saved:
    "Leaves where it is pickled."

    def __reduce__(self):
        leave()
        return int, ()


class Loaded:
    "Leaves where it is unpickled."

    def __reduce__(self):
        return leave, ()


@whipray.remote
def echo(value):
    return value


@whipray.remote(num_cpus=0)
class Keeper:
    def __init__(self, value=None):
        pass

    def keep(self, value):
        pass


whipray.init(num_cpus=1)
keeper = Keeper.remote()
whipray.get([echo.remote(1), keeper.keep.remote(1)])
loaded, plain = whipray.put(Loaded()), whipray.put("plain")
nested = whipray.put([Loaded(), whipray.put("inner")])
big = whipray.put([Loaded(), whipray.put("inner"), bytes(100_000)])
try:
    print(eval(ACTION))
except whipray.exceptions.RayError as error:
    print(type(error).__name__, error)
assert whipray.is_initialized() is AGAIN
if AGAIN:
    assert whipray.get(sys.others) == list(range(100))
    assert whipray.get(echo.remote(3)) == 3
whipray.shutdown()
"""

LEFT = "RaySystemError System error: {}: not attached to a session, or the session has ended"
ACTIONS = {
    "whipray.put(Saved())": LEFT.format("storing a value"),
    "whipray.put([Saved(), bytes(1 << 20)])": LEFT.format("storing a value"),
    "echo.remote(Saved())": LEFT.format("submitting a task"),
    "echo.remote([Saved(), bytes(1 << 20)])": LEFT.format("storing a value"),
    "echo.remote(value=Saved())": LEFT.format("submitting a task"),
    "keeper.keep.remote(Saved())": LEFT.format("submitting a task"),
    "Keeper.remote(Saved())": LEFT.format("submitting a task"),
    "Keeper.options(name='one').remote(Saved())": LEFT.format("submitting a task"),
    "whipray.get(loaded)": "7",
    "whipray.get([loaded, plain])": LEFT.format("reading an object"),
    "whipray.get([plain, loaded])": "['plain', 7]",
    "whipray.get(nested)": LEFT.format("reading an object"),
    "whipray.get(big)": LEFT.format("reading an object"),
}


@pytest.mark.parametrize("again", ["", "again"], ids=["shutdown", "another"])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_begun_ends_with_the_session(action: str, again: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, again, action],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ACTIONS[action], done.stderr


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_several_threads_leave_a_session_that_others_use() -> None:
    shown = run(
        """
        import threading, whipray
        done = threading.Event()
        echo = whipray.remote(lambda value: value)

        def use():
            while not done.is_set():
                try:
                    if whipray.is_initialized():
                        whipray.wait([echo.remote(1), echo.remote(2)], timeout=0.01)
                except (whipray.exceptions.RayError, RuntimeError):
                    pass

        def leave():
            together.wait()
            whipray.shutdown()

        users = [threading.Thread(target=use) for _ in range(3)]
        for user in users:
            user.start()
        for _ in range(40):
            whipray.init(num_cpus=1, ignore_reinit_error=True)
            together = threading.Barrier(4)
            leavers = [threading.Thread(target=leave) for _ in range(4)]
            for leaver in leavers:
                leaver.start()
            for leaver in leavers:
                leaver.join()
        done.set()
        for user in users:
            user.join()
        whipray.shutdown()
        print("done")
        """
    )
    assert shown == "done\n"


def test_a_future_that_waits_starts_no_other_session() -> None:
    shown = run(
        """
        import threading, whipray
        whipray.init(num_cpus=1)
        ref = whipray.remote(lambda: __import__("threading").Event().wait()).remote()
        told, done = [], threading.Event()
        future = ref.future()
        ref._on_completed(lambda value: (told.append(value), done.set()))
        whipray.shutdown()
        done.wait(60)
        errors = [future.exception(timeout=60), *told]
        print(all(isinstance(error, whipray.exceptions.RayError) for error in errors))
        print(whipray.is_initialized())
        """
    )
    assert shown.split() == ["True", "False"]


def test_who_awaits_in_a_session_that_has_died_hears_of_it() -> None:
    """The thread that watches references has ended with the session, or is about to."""
    shown = run(
        """
        import asyncio, os, signal, time, whipray
        from whipray import _core
        whipray.init(num_cpus=1)
        ref = whipray.remote(lambda: time.sleep(10_000)).remote()
        os.kill(_core.info()["daemon_pid"], signal.SIGKILL)
        while _core.attached():
            time.sleep(0.001)

        async def ask():
            try:
                await asyncio.wait_for(ref.as_future(), 60)
            except whipray.exceptions.RaySystemError:
                return "ended"

        print({asyncio.run(ask()) for _ in range(20)})
        try:
            ref.future().result(60)
        except whipray.exceptions.RaySystemError:
            print("ended")
        """
    )
    assert shown.split() == ["{'ended'}", "ended"]
