"""The process that runs one submitted job, apart from whoever submitted it.

It waits for the resources that the entrypoint is to have and for its environment, runs it, and
writes down how it ended.  SIGTERM stops the job.  When the session ends, so does the job; when this
process is killed, the entrypoint is too, and the next who looks finds the lock of the record free.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from whipray import _core
from whipray._private import discovery, jobs

STOP_SECONDS = 3.0
"""How long a job that is stopped may take to end, unless RAY_JOB_STOP_WAIT_TIME_S says more."""
SHOWN_LINES, SHOWN_CHARS = 10, 20_000
ADDRESS, CONFIG = "RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"


class Stopped(BaseException):
    """Somebody has asked for the end of the job."""


class Ended(Exception):
    """The session has ended, and the job with it."""


def main(folder: str, lock: str) -> None:
    """Serve the job in this folder; `lock` is the descriptor that holds its lock."""
    os.set_inheritable(int(lock), False)
    os.environ.pop(CONFIG, None)  # of the job that has submitted this one
    if os.fork():
        os._exit(0)  # whoever submitted the job has no child to wait for
    supervisor = Supervisor(folder)
    with contextlib.suppress(FileNotFoundError):  # the session's directory may go at any time
        supervisor.serve()


class Supervisor:
    """One job."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._session_dir = os.path.dirname(os.path.dirname(folder))
        self._info = jobs.current(folder)
        self._log = jobs.log_of(self._session_dir, self._info["submission_id"])

    def serve(self) -> None:
        """From the start of the job to its end."""
        from whipray._private.envs import enter

        signal.signal(signal.SIGTERM, _stop)
        try:
            self._change(supervisor=os.getpid())
            if os.path.exists(os.path.join(self._folder, "stop")):
                raise Stopped
            with self._resources() as variables:
                self._run({**self._environment(), **variables})
        except Stopped:
            self._end("STOPPED")
        except Ended:
            self._end("FAILED", message="The session has ended.")
        except enter.SetupFailed as error:
            self._end("FAILED", message=str(error), error_type="RUNTIME_ENV_SETUP_FAILURE")
        except Exception as error:
            kind = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
            self._end("FAILED", message=f"{type(error).__name__}: {error}", error_type=kind)

    def _change(self, **known: Any) -> None:
        self._info.update(known)
        jobs.write(self._folder, self._info)

    def _end(self, status: str, **known: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._change(status=status, end_time=jobs.now(), **known)

    # -- before it runs --

    @contextlib.contextmanager
    def _resources(self) -> Iterator[dict[str, str]]:
        """Hold what the entrypoint asks for; yields the variables that say which GPUs."""
        asked = self._info["resources"]
        if not asked:
            yield {}
            return
        import whipray

        socket = discovery.socket_of(self._session_dir)
        whipray.init(f"unix:{socket}", log_to_driver=False, namespace="_whipray_jobs")
        try:
            holder = whipray.remote(**asked)(_Holder).remote()
            gpus = whipray.get(holder.gpus.remote())
            yield {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {}
        finally:
            whipray.shutdown()

    def _environment(self) -> dict[str, str]:
        """The entrypoint's variables."""
        runtime_env = self._info["runtime_env"]
        found = {**os.environ, "PYTHONUNBUFFERED": "1", **runtime_env.get("env_vars", {})}
        found[ADDRESS] = f"unix:{discovery.socket_of(self._session_dir)}"
        found.pop("WHIPRAY_ADDRESS", None)
        metadata = self._info["metadata"]
        found[CONFIG] = json.dumps({"runtime_env": runtime_env, "metadata": metadata})
        python = self._interpreter(runtime_env)
        if python:
            found["PATH"] = os.pathsep.join((os.path.dirname(python), found.get("PATH", "")))
        return found

    def _interpreter(self, runtime_env: dict[str, Any]) -> str | None:
        """`python` of the environment of a job with packages of its own."""
        if not (runtime_env.get("pip") or runtime_env.get("uv")):
            return None
        from whipray._private.envs import interpreter

        os.environ["WHIPRAY_SESSION_DIR"] = self._session_dir
        python = interpreter.command_of(runtime_env)[0]
        places = glob.glob(f"{os.path.dirname(python)}/../lib/python*/site-packages")
        for place in places:  # what the submitter has comes after what was installed
            with open(f"{place}/whipray_submitter.pth", "w", encoding="utf-8") as file:
                file.writelines(f"{entry}\n" for entry in sys.path if entry)
        return python

    # -- while it runs --

    def _run(self, environment: dict[str, str]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                self._info["entrypoint"],
                shell=True,
                cwd=self._info["runtime_env"].get("working_dir"),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_before_exec,
            )
        try:
            self._change(status="RUNNING", message=None)
            code = self._outcome(process)
        finally:
            _kill_group(process, signal.SIGKILL)
            process.wait()
        if code == 0:
            self._end("SUCCEEDED", driver_exit_code=0)
        else:
            kind = "JOB_ENTRYPOINT_COMMAND_ERROR"
            text = self._explain(code)
            self._end("FAILED", message=text, error_type=kind, driver_exit_code=code)

    def _outcome(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code of the entrypoint; Stopped or Ended when it does not end by itself."""
        own = os.pidfd_open(process.pid)
        daemon = _daemon(self._session_dir)
        try:
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                ready = select.select([own, daemon], [], [])[0]
            except Stopped:
                _kill_group(process, signal.SIGTERM)
                select.select([own], [], [], _stop_seconds())
                raise
            if own not in ready:
                raise Ended
        finally:
            os.close(own)
            os.close(daemon)
        return process.wait()

    def _explain(self, code: int) -> str:
        with open(self._log, encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-SHOWN_LINES:])[-SHOWN_CHARS:]
        text = f"Job entrypoint command failed with exit code {code}"
        if not tail:
            return f"{text}. No logs available."
        return f"{text}, last available logs (truncated to 20,000 chars):\n{tail}"


class _Holder:
    """Holds resources for as long as it lives."""

    def gpus(self) -> list[Any]:
        import whipray

        return whipray.get_gpu_ids()


def _stop(signum: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def _before_exec() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _core.die_with_parent()


def _kill_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the entrypoint and what it has started; its pid is not free before `wait`."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _stop_seconds() -> float:
    return float(os.environ.get("RAY_JOB_STOP_WAIT_TIME_S") or STOP_SECONDS)


def _daemon(session_dir: str) -> int:
    """A descriptor that becomes readable when the session ends; Ended if it has."""
    pid = discovery.daemon_of(session_dir)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            found = os.pidfd_open(pid)
            if discovery.daemon_of(session_dir) == pid:
                return found
            os.close(found)
    raise Ended
