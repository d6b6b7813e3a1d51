"""Commands and programs in a runtime directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from whipray._private import discovery


class Shell:
    """Commands and programs in a runtime directory of their own."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        hidden = ("RAY_ADDRESS", "WHIPRAY_ADDRESS")
        self.env = {k: v for k, v in os.environ.items() if k not in hidden}
        self.env.update(WHIPRAY_TMPDIR=str(folder), PYTHONPATH=path)
        self.folder = folder / f"whipray-{os.getuid()}"

    def whipray(self, *arguments: str, code: int = 0) -> str:
        """What a command prints."""
        return self.python("-m", "whipray", *arguments, code=code)

    def python(self, *arguments: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def driver(self, body: str, init: str = "'auto'", code: int = 0, **env: str) -> str:
        """What a program prints that joins the session."""
        head = f"import os, sys, time, json\nimport whipray as ray\nray.init({init})\n"
        return self.python("-c", head + textwrap.dedent(body), code=code, **env)

    def background(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def session_dir(self) -> Path:
        return Path(os.readlink(self.folder / discovery.CURRENT))


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    found = Shell(tmp_path_factory.mktemp("r"))
    yield found
    found.whipray("stop", "--force")
    assert not list(found.folder.glob("*")) if found.folder.exists() else True


@pytest.fixture
def started(shell: Shell) -> Shell:
    shell.whipray("start", "--head", "--num-cpus", "3", "--resources", '{"wheel": 2}')
    return shell
