"""Which sessions there are, and what is left behind of those that were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from whipray._private import discovery, machine


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_what_a_killed_start_has_left_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHIPRAY_TMPDIR", str(tmp_path))
    folder = Path(discovery.runtime_dir(), discovery.STARTED)
    folder.mkdir(parents=True)
    left = [folder / f"{discovery.MAKING}{pid}" for pid in (dead_pid(), os.getpid())]
    other = folder / f"{discovery.MAKING}{os.getppid()}"  # is at it just now
    for link in (*left, other):
        link.symlink_to(tmp_path)
    session = tmp_path / "session"
    session.mkdir()
    discovery.remember(str(session))
    assert sorted(os.listdir(folder)) == sorted([session.name, other.name])
    assert discovery.started() == [str(session)]
    other.unlink()
    left[0].symlink_to(tmp_path)
    discovery.forget_dead()
    assert not folder.exists()


def test_a_socket_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="no session has its socket at"):
        machine.find_address(str(tmp_path / "sock"))


@pytest.mark.parametrize("variable", ["WHIPRAY_ADDRESS", "RAY_ADDRESS"])
@pytest.mark.parametrize("value", ["10.0.0.1:6379", "unix:/no/such/sock"])
def test_an_address_from_the_environment_is_said_to_be_from_there(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHIPRAY_ADDRESS", raising=False)
    monkeypatch.setenv(variable, value)
    for address in (None, "auto"):
        with pytest.raises(ConnectionError, match=f"the value of {variable} in the environment"):
            machine.find_address(address)
    with pytest.raises(ConnectionError, match=r"^((?!environment).)*$"):
        machine.find_address(value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_session_of_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    program = f"""if True:
        import os
        from whipray._private import machine
        os.setuid(65534)
        try:
            machine.find_address("unix:{tmp_path}/sock")
        except ConnectionError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "belongs to another user" in done.stdout
