"""The pytest plugin: fixtures that hand a test the running `whipray` module.

    def test_square(whipray):
        ref = whipray.remote(lambda x: x * x).remote(7)
        assert whipray.get(ref) == 49

    @pytest.mark.whipray(num_cpus=4, resources={"disk": 1})
    def test_with_options(whipray):
        ...

Fixtures:
    whipray: for one test.  The engine is kept between tests that ask for the same options.
    whipray_module: for the fixtures of a module; takes the options of the module's `pytestmark`.
    whipray_session: for the fixtures of a session; takes the options of the configuration.

The marker's keywords are those of `whipray.init`.  `fresh=True` gives the test an engine of its own
that nothing else has used, and shuts it down after the test.

There is one engine at a time.  A test that asks for other options replaces it, and the references
and actors of the replaced one are gone.  When a fixture of the module or session relies on an
engine, one with its options is started again after such a test, but tests that share references
through such fixtures should ask for the same options throughout.

Configuration: `--whipray-num-cpus N` on the command line; `whipray_init` in the ini file, one
`keyword = value` per line, where the value is a Python literal or else a plain string.  A marker
overrides the command line, which overrides the ini file.

`--whipray-as-ray`, or `whipray_as_ray = true` in the ini file, lets `import ray` be Whipray in the
tests and what they import; the option sets WHIPRAY_AS_RAY, so processes that they start follow.

Whipray itself is imported by the first test that uses a fixture, not by pytest's start.
"""

from __future__ import annotations

import ast
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

MARKER = "whipray"
OPENED = (
    "by the pytest fixture `whipray`, which keeps it for the next test: take the fixture here too, "
    "with the options as its marker, or call shutdown() before init()"
)
Options = dict[str, Any]


class Engine:
    """The one Whipray engine of this pytest process; started when first asked for."""

    def __init__(self) -> None:
        self._options: Options | None = None
        self._home: Options | None = None

    def ensure(self, options: Options) -> ModuleType:
        """The module, running with exactly `options`; a running engine is reused if it fits."""
        module = importlib.import_module("whipray")
        if self._options != options or not module.is_initialized():
            self.stop()
            module.init(**options)
            importlib.import_module("whipray._private.worker").state.opened = OPENED
            self._options = options
        return module

    def stop(self) -> None:
        """Shut the engine down, also one that a test has started by itself; may be repeated."""
        self._options = None
        module = importlib.import_module("whipray")
        if module.is_initialized():
            module.shutdown()

    @contextmanager
    def home(self, options: Options) -> Iterator[ModuleType]:
        """For the length of the block, `return_home` leads back to an engine with `options`."""
        outer, self._home = self._home, options
        try:
            yield self.ensure(options)
        finally:
            self._home = outer

    def return_home(self) -> None:
        """Give fixtures of a wider scope the engine back that they rely on."""
        if self._home is not None:
            self.ensure(self._home)


_DEFAULTS = pytest.StashKey[Options]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the command-line option and the ini option."""
    group = parser.getgroup("whipray")
    group.addoption(
        "--whipray-num-cpus",
        type=int,
        default=None,
        metavar="N",
        help="CPUs of the engine behind the whipray fixtures (default: those of the machine)",
    )
    group.addoption(
        "--whipray-as-ray",
        action="store_true",
        help="let `import ray` be Whipray",
    )
    parser.addini("whipray_as_ray", type="bool", default=False, help="let `import ray` be Whipray")
    parser.addini(
        "whipray_init",
        type="linelist",
        default=[],
        help="arguments of whipray.init for the whipray fixtures, one 'keyword = value' per line",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Take the name `ray` before any file of the tests is imported."""
    asked = early_config.known_args_namespace.whipray_as_ray
    if asked or early_config.getini("whipray_as_ray"):
        os.environ["WHIPRAY_AS_RAY"] = "1"
        importlib.import_module("whipray.compat").install()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and read the configuration."""
    config.addinivalue_line(
        "markers",
        "whipray(fresh=False, **options): arguments of whipray.init for this test's engine; "
        "fresh=True gives the test an engine of its own",
    )
    config.stash[_DEFAULTS] = _configured_options(config)


@pytest.fixture(scope="session")
def _whipray_engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def whipray_session(_whipray_engine: Engine, pytestconfig: pytest.Config) -> Iterator[ModuleType]:
    """The `whipray` module, initialised with the configured options, until the session's end."""
    with _whipray_engine.home(pytestconfig.stash[_DEFAULTS]) as module:
        yield module


@pytest.fixture(scope="module")
def whipray_module(_whipray_engine: Engine, request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The `whipray` module, initialised with the options of the test module's `pytestmark`."""
    options, _ = _marked_options(request.node)
    with _whipray_engine.home(options) as module:
        yield module
    _whipray_engine.return_home()


@pytest.fixture
def whipray(_whipray_engine: Engine, request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The `whipray` module, initialised with the options of the test's `whipray` marker."""
    options, fresh = _marked_options(request.node)
    if fresh:
        _whipray_engine.stop()
    yield _whipray_engine.ensure(options)
    if fresh:
        _whipray_engine.stop()
    _whipray_engine.return_home()


def _configured_options(config: pytest.Config) -> Options:
    """Options of the ini file and the command line."""
    options: Options = {}
    for line in config.getini("whipray_init"):
        keyword, equals, text = line.partition("=")
        if not equals or not keyword.strip().isidentifier():
            raise pytest.UsageError(f"whipray_init: expected 'keyword = value', got {line!r}")
        options[keyword.strip()] = _literal(text.strip())
    num_cpus = config.getoption("--whipray-num-cpus")
    if num_cpus is not None:
        options["num_cpus"] = num_cpus
    return options


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _marked_options(node: pytest.Collector | pytest.Item) -> tuple[Options, bool]:
    """Options for a test or module, nearer markers first, and whether it wants its own engine."""
    defaults: Options = node.config.stash[_DEFAULTS]
    options = dict(defaults)
    for mark in reversed(list(node.iter_markers(MARKER))):
        if mark.args:
            raise pytest.UsageError(f"{node.nodeid}: the whipray marker takes keywords only")
        options.update(mark.kwargs)
    return options, bool(options.pop("fresh", False))
