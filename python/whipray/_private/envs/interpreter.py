"""In a worker that has just been forked: change into the interpreter of its environment.

pip and uv make a virtual environment, once per session and list of packages; py_executable names a
command.  The process then executes that interpreter: it keeps its pid, its parent and its
descriptors, so that to the daemon it is a worker like any other, only a slower one to start.

All of it happens in the process that will be the worker, while the daemon and the fork server go
on.  One process makes an environment, under a lock on a file; those who waited for it take over
what it achieved, or the reason why it failed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from typing import Any, NoReturn

from whipray import _core
from whipray._private.envs import enter, fields

FIELDS = ("pip", "uv", "py_executable")
SEGMENT_FD = 4
TAIL_LINES = 40

_PATHS = """
import sys
front, back = (
    [p for p in bytes.fromhex(text).decode("utf-8", "surrogateescape").split("\\0") if p]
    for text in sys.argv[1:3]
)
own = [p for p in sys.path if p]
sys.path[:] = front + own + [p for p in back if p not in own]
"""
PROGRAM = f"""{_PATHS}
slot, gen, sock = map(int, sys.argv[3:6])
sys.argv[1:] = []
from whipray._private.fork_server import resume
resume(slot, gen, sock)
"""
"""What the other interpreter runs: the arguments are two hex lists of import paths, those before
and those after its own, and what the worker is."""
PROBE = f"""{_PATHS}
import whipray._core
"""


def needed(runtime_env: dict[str, Any]) -> bool:
    """Does the environment ask for another interpreter than the fork server's?"""
    return any(runtime_env.get(name) for name in FIELDS)


def change(runtime_env: dict[str, Any], slot: int, gen: int, sock: int) -> NoReturn:
    """Become a worker under the environment's interpreter; SetupFailed if there is none."""
    command = command_of(runtime_env)
    for fd in (SEGMENT_FD, sock):
        os.set_inheritable(fd, True)
    front, back = _import_paths()
    arguments = [*command, "-c", PROGRAM, front, back, str(slot), str(gen), str(sock)]
    try:
        os.execvpe(command[0], arguments, os.environ)
    except OSError as error:
        for fd in (SEGMENT_FD, sock):
            os.set_inheritable(fd, False)
        raise enter.SetupFailed(f"can not run {command[0]}: {error}") from None


def command_of(runtime_env: dict[str, Any]) -> list[str]:
    spec = {name: runtime_env[name] for name in FIELDS if runtime_env.get(name)}
    key = hashlib.sha1(json.dumps(spec, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    folder = os.path.join(os.environ["WHIPRAY_SESSION_DIR"], "virtualenvs", key)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    seconds = runtime_env.get("config", {}).get("setup_timeout_seconds", fields.SETUP_SECONDS)
    setup = Setup(spec, folder, None if seconds == -1 else float(seconds))
    if runtime_env.get("working_dir"):
        setup.cwd = runtime_env["working_dir"]
    with _alone(folder):
        return setup.command()


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """The lock goes with the process that holds it."""
    fd = os.open(os.path.join(folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Setup:
    """Makes one environment in its folder: `venv`, and `ready` once it works."""

    def __init__(self, spec: dict[str, Any], folder: str, seconds: float | None) -> None:
        self._spec = spec
        self._folder = folder
        self._seconds = seconds
        self._began = _now()
        self._log = os.path.join(folder, "setup.log")
        self._venv = os.path.join(folder, "venv")
        self.cwd: str | None = None

    def command(self) -> list[str]:
        """The command line of the interpreter."""
        done, failed = (os.path.join(self._folder, name) for name in ("ready", "failed"))
        if os.path.exists(done):
            return self._interpreter()
        if os.path.exists(failed) and os.stat(failed).st_mtime >= self._began:
            with open(failed, encoding="utf-8") as file:
                raise enter.SetupFailed(file.read())
        try:
            self._make()
            self._probe()
        except enter.SetupFailed as error:
            shutil.rmtree(self._venv, ignore_errors=True)
            with open(failed, "w", encoding="utf-8") as file:
                file.write(str(error))
            raise
        with open(done, "w", encoding="utf-8"):
            return self._interpreter()

    def _interpreter(self) -> list[str]:
        asked = self._spec.get("py_executable")
        if asked:
            return shlex.split(asked)
        return [os.path.join(self._venv, "bin", "python")]

    def _make(self) -> None:
        """Packages go into a fresh virtual environment that also sees those of this one."""
        if not ("pip" in self._spec or "uv" in self._spec):
            return
        shutil.rmtree(self._venv, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", "--without-pip", self._venv])
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        purelib = os.path.join(self._venv, "lib", version, "site-packages")
        with open(os.path.join(purelib, "_whipray_parent.pth"), "w", encoding="utf-8") as file:
            file.writelines(f"{entry}\n" for entry in _site_dirs())
        if "pip" in self._spec:
            self._pip(self._spec["pip"])
        else:
            self._uv(self._spec["uv"])

    def _pip(self, spec: dict[str, Any]) -> None:
        python = os.path.join(self._venv, "bin", "python")
        pip = [python, "-m", "pip"]
        if self._fails([*pip, "--version"]):
            self._run([python, "-m", "ensurepip"])
        if spec.get("pip_version"):
            self._run([*pip, "install", f"pip{spec['pip_version']}"])
        options = spec.get("pip_install_options", ["--disable-pip-version-check"])
        self._run([*pip, "install", *options, "-r", self._requirements(spec["packages"])])
        if spec.get("pip_check"):
            self._run([*pip, "check", "--disable-pip-version-check"])

    def _uv(self, spec: dict[str, Any]) -> None:
        python = os.path.join(self._venv, "bin", "python")
        uv = shutil.which("uv")
        if uv is None or spec.get("uv_version"):
            self._pip({"packages": [f"uv{spec.get('uv_version', '')}"]})
            uv = os.path.join(self._venv, "bin", "uv")
            if not os.path.exists(uv):
                uv = os.path.join(sys.prefix, "bin", "uv")
        options = spec.get("uv_pip_install_options", ["--no-cache"])
        wanted = ["-r", self._requirements(spec["packages"])]
        self._run([uv, "pip", "install", "--python", python, *options, *wanted])
        if spec.get("uv_check"):
            self._run([uv, "pip", "check", "--python", python])

    def _requirements(self, packages: list[str]) -> str:
        path = os.path.join(self._folder, "requirements.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in packages)
        return path

    def _probe(self) -> None:
        """The engine has to load there: the same version of Python, for one."""
        self._run([*self._interpreter(), "-c", PROBE, *_import_paths()])

    def _fails(self, command: list[str]) -> bool:
        try:
            self._run(command)
        except enter.SetupFailed:
            return True
        return False

    def _run(self, command: list[str]) -> None:
        """Run a step, its output into the log; SetupFailed with the end of it if it fails.

        Nothing that it has started is left behind, also if this worker is killed.
        """
        with open(self._log, "w+b") as log:
            try:
                with _ending_group() as group:
                    step = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        cwd=self.cwd,
                        env=self._environment(),
                        process_group=group,
                        preexec_fn=_core.die_with_parent,
                    )
                    code = step.wait(self._left())
            except subprocess.TimeoutExpired:
                step.wait()  # it has ended with its group
                raise enter.SetupFailed(
                    f"it took longer than setup_timeout_seconds={self._seconds:g}: "
                    f"{shlex.join(command)}\n{_tail(self._log)}"
                ) from None
            except OSError as error:
                raise enter.SetupFailed(f"can not run {command[0]}: {error}") from None
        if code:
            shown = shlex.join(part if len(part) < 200 else "..." for part in command)
            raise enter.SetupFailed(f"{shown} ended with {code}:\n{_tail(self._log)}")

    def _environment(self) -> dict[str, str]:
        """Of a step: temporary files that it leaves when it is ended go with the session."""
        own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        own["TMPDIR"] = os.path.join(self._folder, "tmp")
        os.makedirs(own["TMPDIR"], exist_ok=True)
        return own

    def _left(self) -> float | None:
        return None if self._seconds is None else max(0.1, self._seconds - (_now() - self._began))


@contextlib.contextmanager
def _ending_group() -> Iterator[int]:
    """A process group that ends with this block, or with this process.

    Its first member does it, when the pipe of which we alone have the other end is closed: it is
    there before anything else joins the group.  A step that is being started has that end too,
    until it has joined.
    """
    told, alive = os.pipe()
    guard = os.fork()
    if guard == 0:
        _wait_and_end_group(told)
    os.close(told)
    try:
        os.setpgid(guard, guard)
        yield guard
    finally:
        os.close(alive)
        os.waitpid(guard, 0)


def _wait_and_end_group(told: int) -> NoReturn:
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.setpgid(0, 0)
        os.dup2(told, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)  # this process with it
    finally:  # whatever happens: what the worker does next is not for this process
        os._exit(0)


def _now() -> float:
    import time

    return time.time()


def _tail(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-TAIL_LINES:])


# ---- import paths --------------------------------------------------------------------------------


def _is_site(entry: str) -> bool:
    return os.path.basename(entry.rstrip("/")) in ("site-packages", "dist-packages")


def _site_dirs() -> list[str]:
    return [entry for entry in sys.path if _is_site(entry)]


def _import_paths() -> tuple[str, str]:
    """Our import path as two hex texts: what the user put in front, and our site directories.

    The standard library between them is the other interpreter's own.
    """
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    standard |= {os.path.join(path, "lib-dynload") for path in standard}
    front = [
        entry
        for entry in sys.path
        if not _is_site(entry) and entry not in standard and not entry.endswith(".zip")
    ]
    return _hex(front), _hex(_site_dirs())


def _hex(entries: list[str]) -> str:
    return "\0".join(entries).encode("utf-8", "surrogateescape").hex()
