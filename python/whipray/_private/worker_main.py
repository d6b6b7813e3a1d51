"""The life of a worker process after the fork server has made it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from whipray import _core
from whipray._private import gpus, output, serving, worker


def run(broken: str | None) -> NoReturn:
    """Work until there is nothing left for this process, then end it.  Never returns.

    `broken` is why its environment could not be set up: then every task is answered with that.
    """
    code = 1
    try:
        _prepare()
        _enter_environment(broken)
        code = _work()
    except BaseException:
        _report()
    finally:
        _end(code)


def _prepare() -> None:
    """What must be in place before the first task."""
    import whipray.actor  # noqa: F401 - registers the handle types

    worker.state.is_worker = True
    _name_of_ray()
    worker.state.namespace = os.environ.get(worker.NAMESPACE_KEY, "")
    gpus.remember()
    if gpus.SET_EMPTY in os.environ:
        gpus.show()
    output.install()
    if os.environ.get(worker.JOB_CONFIG_KEY):
        from whipray import job_config

        worker.state.detached = job_config.apply_in_worker(os.environ[worker.JOB_CONFIG_KEY])
    signal.signal(signal.SIGINT, _interrupt)
    _terminable()
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _break
    _reseed()


def _break(*args: object, **kwargs: object) -> None:
    """`breakpoint()`."""
    from whipray.util import rpdb

    rpdb.stop_at(sys._getframe(1))


def _enter_environment(broken: str | None) -> None:
    serving.running.broken = broken
    if broken is not None or not os.environ.get(worker.ENV_KEY):
        return
    from whipray._private.envs import enter

    try:
        enter.apply(enter.own())
    except enter.SetupFailed as error:
        serving.running.broken = str(error)


def _name_of_ray() -> None:
    """Where `ray` is Whipray at the driver, so it is here."""
    if os.environ.get("WHIPRAY_AS_RAY", "0") not in ("", "0"):
        from whipray import compat

        compat.install()


def _reseed() -> None:
    """Workers are copies of one process: give each its own random numbers."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGINT: a cancellation was asked for, or somebody pressed Ctrl-C at the driver.

    Only a pool worker whose task is marked as cancelled is interrupted; calls of synchronous
    actors look at the mark themselves, and async actors have a handler of their own.
    """
    if serving.running.actor is not None:
        return
    job = _core.current_job()
    if job is not None and job.cancelled:
        if _importing(frame) and _postponed():
            return
        serving.cancel_children(job)
        raise KeyboardInterrupt


_pid = 0


def _terminable() -> None:
    global _pid
    _pid = os.getpid()
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM: what runs is left by SystemExit, and then this process, in order.

    A child that a task has forked ends at once: the stack below it is not its own.
    """
    if os.getpid() != _pid:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    raise SystemExit(1)


IMPORT_SECONDS, LOOK_SECONDS = 30.0, 0.05
_imports_until = 0.0


def _importing(frame: FrameType | None) -> bool:
    """Whether the main thread is in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _postponed() -> bool:
    """Come back a little later: a half-done import would spoil this process for the next task.

    False once that has been going on for IMPORT_SECONDS: a module may be the whole work.
    """
    import threading
    import time

    global _imports_until
    now = time.monotonic()
    if now - _imports_until > 2 * IMPORT_SECONDS:
        _imports_until = now + IMPORT_SECONDS
    if now > _imports_until:
        return False
    again = threading.Timer(LOOK_SECONDS, os.kill, (os.getpid(), signal.SIGINT))
    again.daemon = True
    again.start()
    return True


def _work() -> int:
    """Run the loop; returns the exit code."""
    try:
        _core.worker_loop(serving.Handlers())
    except SystemExit as leaving:
        return _exit_code(leaving)
    except ConnectionError:
        pass
    return 0


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1


def _report() -> None:
    import traceback

    traceback.print_exc()


def _end(code: int) -> NoReturn:
    """Run what the user's code left for the end, in Python's order, and leave."""
    try:
        _shutdown_hook()
        serving.running.actor = None
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        _report()
    finally:
        with contextlib.suppress(BaseException):
            _end_children()
        os._exit(code)


def _end_children() -> None:
    """End what this process has started and what has left its group: the daemon ends the others."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as listed:
            for pid in map(int, listed.read().split()):
                if os.getpgid(pid) != os.getpid():
                    os.kill(pid, signal.SIGTERM)


def _shutdown_hook() -> None:
    """`__ray_shutdown__` of an actor that leaves in order."""
    actor = serving.running.actor
    instance = None if actor is None else actor.instance
    hook = getattr(instance, "__ray_shutdown__", None)
    if hook is None:
        return
    try:
        hook()
    except Exception:
        _report()
