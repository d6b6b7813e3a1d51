"""Several drivers in one session; a session that has ended by itself; many descriptors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

import whipray
from whipray import _core


@pytest.fixture
def session() -> Iterator[dict[str, Any]]:
    whipray.init(num_cpus=2, log_to_driver=False, namespace="first")
    yield _core.info()
    whipray.shutdown()


def run(program: str, *args: str, **env: str) -> Any:
    """What a driver of its own prints, as JSON."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *args],
        env={"PYTHONPATH": path, "PATH": "/nonexistent", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


JOIN = """
    import json, os, sys
    import whipray
    whipray.init("unix:" + sys.argv[1] + "/sock", namespace="second", log_to_driver=False,
                 runtime_env={"env_vars": {"COLOUR": "green"}})
    @whipray.remote
    def look():
        context = whipray.get_runtime_context()
        return sys.executable, os.environ["COLOUR"], context.namespace, os.getcwd()
    class Local:
        value = 3
    found = whipray.get(look.remote())
    value = whipray.get(whipray.put(Local())).value
    print(json.dumps([*found, value, sys.executable, os.getcwd()]))
"""


def test_workers_of_a_joined_driver_are_like_it(session: dict[str, Any]) -> None:
    python, colour, namespace, cwd, value, own_python, own_cwd = run(JOIN, session["session_dir"])
    assert (python, cwd) == (own_python, own_cwd)
    assert (colour, namespace, value) == ("green", "second", 3)
    assert whipray.get(whipray.remote(lambda: os.environ.get("COLOUR")).remote()) is None


def test_init_after_the_session_has_died(session: dict[str, Any]) -> None:
    lost = whipray.put(1)
    os.kill(session["daemon_pid"], signal.SIGKILL)
    with pytest.raises(whipray.exceptions.RaySystemError, match="the session has ended"):
        while True:
            whipray.get(whipray.remote(lambda: 1).remote(), timeout=30)
    whipray.init(num_cpus=1, log_to_driver=False)
    assert whipray.get(whipray.remote(lambda: 2).remote()) == 2
    with pytest.raises(whipray.exceptions.ObjectLostError):
        whipray.get(lost)


def test_more_workers_than_a_small_limit_of_descriptors_allows() -> None:
    """The daemon needs four for each; workers themselves keep the limit of the driver."""
    program = """
        import json, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, 4096))
        import whipray
        whipray.init(num_cpus=2, log_to_driver=False)
        @whipray.remote(num_cpus=0)
        class Member:
            def limit(self):
                return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        members = [Member.remote() for _ in range(60)]
        print(json.dumps(whipray.get([m.limit.remote() for m in members])))
    """
    assert run(program) == [160] * 60
