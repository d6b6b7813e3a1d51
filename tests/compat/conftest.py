"""Engine choice, instances and time limits of the compatibility tests.

WHIPRAY_COMPAT_ENGINE selects what `ray` means: `whipray` (default) or `ray`, the original, which
is the oracle: a test belongs here only if it passes there, or says with `ray_differs` why not.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from .groups import all_free, remove_all_groups
from .helpers import Gate, Journal, Ray, wait_until

ENGINE = os.environ.get("WHIPRAY_COMPAT_ENGINE", "whipray")
TEST_SECONDS = 300
GRACE_SECONDS = 15
STDERR = pytest.StashKey[int]()
EXPIRED = pytest.StashKey[int]()

# Workers import helpers and test modules by reference, so they need the folder of the package.
ROOT = str(Path(__file__).resolve().parents[len(__name__.split(".")) - 1])
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (ROOT, os.environ.get("PYTHONPATH")) if part
)


def init_defaults() -> dict[str, Any]:
    """Arguments every instance starts with, unless the test gives others."""
    if ENGINE == "ray":
        return {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    return {"num_cpus": 2, "log_to_driver": False}


def pytest_configure(config: pytest.Config) -> None:
    if ENGINE not in ("whipray", "ray"):
        raise pytest.UsageError(f"WHIPRAY_COMPAT_ENGINE={ENGINE!r}: use whipray or ray")
    config.addinivalue_line(
        "markers", "ray_differs(reason): deliberate difference; not run on the original Ray"
    )
    config.addinivalue_line("markers", "time_limit(seconds): replaces the limit of one test")
    if ENGINE == "ray":
        # Warnings of the original are its own matter; those of Whipray are errors.
        config.addinivalue_line("filterwarnings", "ignore")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs so; workers would inherit it and ignore cancellation.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


# What Whipray does not do yet as Ray does.  A test named here must fail: once it passes, it has to
# leave this list.  The recursive one is not run, since its children would run on for a minute.
KNOWN_GAPS: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        differs = item.get_closest_marker("ray_differs")
        if differs is not None and ENGINE == "ray":
            reason = f"differs from Ray on purpose: {differs.args[0]}"
            item.add_marker(pytest.mark.skip(reason=reason))
        name = item.nodeid.split("tests/compat/")[-1]
        if name in KNOWN_GAPS and ENGINE == "whipray":
            run = "recursive" not in name
            item.add_marker(pytest.mark.xfail(reason=KNOWN_GAPS[name], strict=True, run=run))


def pytest_sessionstart(session: pytest.Session) -> None:
    # Output is captured while conftest files load; here it is not.
    session.config.stash[STDERR] = os.dup(2)


class TimeLimitExceeded(KeyboardInterrupt):
    """A test took too long. Engines let interrupts, and only those, out of a blocking call."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Interrupt a test that takes too long; end the run, with all stacks, if that is no help."""
    marker = item.get_closest_marker("time_limit")
    seconds = int(marker.args[0]) if marker is not None else TEST_SECONDS

    def expire(signum: int, frame: FrameType | None) -> None:
        item.stash[EXPIRED] = seconds
        raise TimeLimitExceeded

    previous = signal.signal(signal.SIGALRM, expire)
    faulthandler.dump_traceback_later(
        seconds + GRACE_SECONDS, exit=True, file=item.config.stash[STDERR]
    )
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, previous)


def _fail_when_expired(item: pytest.Item) -> Iterator[None]:
    """Turn the interrupt of the time limit into the failure of this one test."""
    try:
        return (yield)
    except KeyboardInterrupt:
        if EXPIRED not in item.stash:
            raise
        pytest.fail(f"took more than {item.stash[EXPIRED]} s")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _fail_when_expired(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _fail_when_expired(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    return (yield from _fail_when_expired(item))


@pytest.fixture(scope="session")
def engine() -> Ray:
    """The module under test, without an instance."""
    return importlib.import_module(ENGINE)


@pytest.fixture(scope="module")
def _shared(engine: Ray) -> Iterator[None]:
    yield
    engine.shutdown()


@pytest.fixture
def ray(engine: Ray, _shared: None) -> Ray:
    """The engine with an instance of two CPUs that the tests of one file share."""
    if not engine.is_initialized():
        engine.init(**init_defaults())
    return engine


@pytest.fixture
def part(ray: Ray) -> Callable[[str], Any]:
    """Imports a module of the engine by its name below `ray`, with an instance at hand."""
    return lambda name: importlib.import_module(f"{ray.__name__}.{name}")


@pytest.fixture
def ray_fresh(engine: Ray) -> Iterator[Ray]:
    """The engine with no instance: the test starts its own, see `start`."""
    engine.shutdown()
    yield engine
    engine.shutdown()


@pytest.fixture
def start(ray_fresh: Ray) -> Callable[..., Any]:
    """`init` with this suite's defaults under the given arguments."""

    def begin(**arguments: Any) -> Any:
        return ray_fresh.init(**{**init_defaults(), **arguments})

    return begin


@pytest.fixture(scope="module")
def _machine(engine: Ray) -> Iterator[None]:
    engine.shutdown()
    engine.init(**{**init_defaults(), "num_cpus": 4, "resources": {"slots": 2}})
    yield
    engine.shutdown()


@pytest.fixture
def machine(engine: Ray, _machine: None) -> Iterator[Ray]:
    """An instance with four CPUs and two `slots`; groups that a test leaves are removed."""
    yield engine
    remove_all_groups(engine)
    wait_until(lambda: all_free(engine))


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[str], Gate]:
    """Makes gates by name."""
    return lambda name="gate": Gate(tmp_path / f"{name}.gate")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def script_prelude() -> str:
    defaults = {key: value for key, value in init_defaults().items() if key != "log_to_driver"}
    return f"import {ENGINE} as ray\nINIT = {defaults!r}\n"


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a driver of its own; `ray` and `INIT` (arguments for init) are defined in it."""
    launched: list[subprocess.Popen[str]] = []

    def launch(body: str, **environment: str) -> subprocess.Popen[str]:
        path = tmp_path / "driver.py"
        path.write_text(script_prelude() + textwrap.dedent(body), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        launched.append(process)
        return process

    yield launch
    for process in launched:
        with process:
            process.kill()


@pytest.fixture
def run_script(script: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Runs a driver to its end, checks its exit code and returns what it printed."""

    def run(body: str, code: int = 0, **environment: str) -> str:
        process = script(body, **environment)
        output, _ = process.communicate()
        assert process.returncode == code, output
        return output

    return run


@pytest.fixture
def listen(script: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Runs a driver that ends when its input does, once `enough` holds for its output so far."""

    def run(body: str, enough: Callable[[str], object], **environment: str) -> str:
        ending = "\nimport sys\nsys.stdin.read()\n"
        process = script(textwrap.dedent(body) + ending, **environment)
        assert process.stdout is not None
        output = ""
        while not enough(output):
            line = process.stdout.readline()
            assert line, f"ended too early:\n{output}"
            output += line
        # communicate() does not know of what readline() has read ahead.
        assert process.stdin is not None
        process.stdin.close()
        output += process.stdout.read()
        assert process.wait() == 0, output
        return output

    return run
