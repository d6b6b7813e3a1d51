"""Environments with an interpreter or packages of their own, and what happens when one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from tests.compat.helpers import process_gone, wait_until
from whipray.exceptions import RuntimeEnvSetupError


@pytest.fixture
def session() -> Iterator[None]:
    whipray.init(num_cpus=2, log_to_driver=False)
    yield
    whipray.shutdown()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tiny_wheel(tmp_path)


def tiny_wheel(folder: Path) -> Path:
    """A small package that nobody else has."""
    path = folder / "whipray_tries_this-1.0-py3-none-any.whl"
    info = "whipray_tries_this-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("whipray_tries_this.py", "VALUE = 5\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: whipray-tries-this\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@whipray.remote(max_retries=0)
def tried() -> tuple[int, str, int]:
    import whipray_tries_this

    return whipray_tries_this.VALUE, sys.executable, os.getpid()


@whipray.remote(num_cpus=0)
class Member:
    def value(self) -> int:
        import whipray_tries_this

        return int(whipray_tries_this.VALUE)


def pip(*packages: str, **more: Any) -> dict[str, Any]:
    options = ["--no-index", "--disable-pip-version-check"]
    return {"pip": {"packages": list(packages), "pip_install_options": options}, **more}


def test_packages_of_pip_are_installed_once(session: None, wheel: Path) -> None:
    env = pip(str(wheel))
    found = whipray.get([tried.options(runtime_env=env).remote() for _ in range(4)])
    value, python, _ = found[0]
    assert value == 5 and "virtualenvs" in python
    assert len({executable for _, executable, _ in found}) == 1
    assert whipray.get(Member.options(runtime_env=env).remote().value.remote()) == 5
    with pytest.raises(ModuleNotFoundError):
        whipray.get(tried.remote())


def test_a_wheel_among_the_modules(session: None, wheel: Path) -> None:
    env = {"py_modules": [str(wheel)]}
    assert whipray.get(tried.options(runtime_env=env).remote())[:2] == (5, sys.executable)


def test_a_worker_under_another_interpreter_is_killed_and_replaced(session: None) -> None:
    @whipray.remote(max_retries=0)
    def name() -> tuple[int, str]:
        return os.getpid(), sys.flags.no_user_site * "-s"

    @whipray.remote(max_retries=0)
    def die() -> None:
        os._exit(3)

    env = {"py_executable": f"{sys.executable} -s"}
    pid, flag = whipray.get(name.options(runtime_env=env).remote())
    assert flag == "-s"
    with pytest.raises(whipray.exceptions.WorkerCrashedError):
        whipray.get(die.options(runtime_env=env).remote())
    assert whipray.get(name.options(runtime_env=env).remote())[1] == "-s"
    whipray.shutdown()
    wait_until(lambda: process_gone(pid))


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (pip("no-such-package-anywhere"), "No matching distribution found"),
        ({"py_executable": "/there/is/no/python"}, "can not run /there/is/no/python"),
        ({"py_executable": "/bin/false"}, "ended with 1"),
        ({"worker_process_setup_hook": "no_such_module.hook"}, "No module named 'no_such_module'"),
    ],
)
def test_a_failure_is_the_answer_to_everything(
    session: None, env: dict[str, Any], text: str
) -> None:
    task, member = tried.options(runtime_env=env), Member.options(runtime_env=env).remote()
    for ref in (task.remote(), member.value.remote(), task.remote(), member.value.remote()):
        with pytest.raises(RuntimeEnvSetupError, match=text):
            whipray.get(ref)
    assert whipray.get(whipray.remote(lambda: "the others go on").remote())


def test_setup_takes_no_longer_than_allowed(session: None, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
    )
    mark = tmp_path / "pid"  # of a process that pip has started
    (slow / "slow.py").write_text(
        "import os, tempfile, time\n"
        f"open({str(mark)!r}, 'w').write(f'{{os.getpid()}} {{tempfile.gettempdir()}}')\n"
        "time.sleep(600)\n"
    )
    env = pip(str(slow), config={"setup_timeout_seconds": 3})
    with pytest.raises(RuntimeEnvSetupError, match="setup_timeout_seconds=3"):
        whipray.get(tried.options(runtime_env=env).remote())
    if mark.exists() and mark.read_text():  # pip has come so far in its three seconds
        pid, folder = mark.read_text().split()
        wait_until(lambda: process_gone(int(pid)))
        assert folder.startswith(whipray._core.info()["session_dir"])  # what it left there goes


def test_nothing_of_a_setup_outlives_the_session(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    mark = tmp_path / "pid"
    (slow / "python").write_text(
        f"#!/bin/sh\nsleep 600 &\necho $$ $! > {mark}.new; mv {mark}.new {mark}\nwait\n"
    )
    (slow / "python").chmod(0o755)
    with whipray.init(num_cpus=1, log_to_driver=False):
        ref = tried.options(runtime_env={"py_executable": str(slow / "python")}).remote()
        wait_until(mark.exists)
        assert whipray.wait([ref], timeout=0)[0] == []
    wait_until(lambda: all(process_gone(int(pid)) for pid in mark.read_text().split()))


def test_nothing_of_a_step_outlives_a_worker_that_dies_as_it_starts_one(tmp_path: Path) -> None:
    """The step kills its worker as soon as it runs, and has started something by then."""
    step = tmp_path / "step"
    step.write_text("#!/bin/sh\nsleep 600 &\necho $$ $! > $1\nkill -9 $PPID\nwait\n")
    step.chmod(0o755)
    program = (  # a worker that is slow to fork by itself
        "import os, sys, time\nfrom whipray._private.envs.interpreter import Setup\n"
        "fork = os.fork\nos.fork = lambda: (time.sleep(0.3), fork())[1]\n"
        "Setup({}, sys.argv[1], None)._run(sys.argv[2:])\n"
    )
    marks = [tmp_path / f"pids{i}" for i in range(3)]
    for mark in marks:
        command = [sys.executable, "-c", program, str(tmp_path), str(step), str(mark)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    pids = [int(pid) for mark in marks for pid in mark.read_text().split()]
    assert len(pids) == 2 * len(marks)
    wait_until(lambda: all(map(process_gone, pids)))
