"""Programs as jobs of a session: submit, watch, stop.

A job runs apart from whoever submitted it, until it ends or the session does.  Records and output
lie in the session's directory; a client needs no connection.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import os
import secrets
import string
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

from whipray import _core
from whipray._private import child, jobs, machine

__all__ = [
    "DriverInfo",
    "JobDetails",
    "JobErrorType",
    "JobInfo",
    "JobStatus",
    "JobSubmissionClient",
    "JobType",
]

LOOK_SECONDS = 0.1
_ALPHABET = string.ascii_letters + string.digits


class JobStatus(enum.StrEnum):
    """Where a job is in its life."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def is_terminal(self) -> bool:
        """Whether the job is done, one way or another."""
        return self.value in jobs.DONE


class JobType(enum.StrEnum):
    """Whether a job was submitted, or is a driver that connected by itself."""

    SUBMISSION = "SUBMISSION"
    DRIVER = "DRIVER"


class JobErrorType(enum.StrEnum):
    """Why a job failed."""

    RUNTIME_ENV_SETUP_FAILURE = "RUNTIME_ENV_SETUP_FAILURE"
    JOB_SUPERVISOR_ACTOR_START_TIMEOUT = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    JOB_SUPERVISOR_ACTOR_START_FAILURE = "JOB_SUPERVISOR_ACTOR_START_FAILURE"
    JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE = "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"
    JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE = "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"
    JOB_SUPERVISOR_ACTOR_DIED = "JOB_SUPERVISOR_ACTOR_DIED"
    JOB_ENTRYPOINT_COMMAND_START_ERROR = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
    JOB_ENTRYPOINT_COMMAND_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"


@dataclasses.dataclass
class DriverInfo:
    """The driver of a job."""

    id: str
    node_ip_address: str
    pid: str


@dataclasses.dataclass
class JobInfo:
    """What is known about a job; times in milliseconds since 1970."""

    status: JobStatus
    entrypoint: str
    message: str | None = None
    error_type: JobErrorType | None = None
    start_time: int | None = None
    end_time: int | None = None
    metadata: dict[str, str] | None = None
    runtime_env: dict[str, Any] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None

    def __post_init__(self) -> None:
        self.status = JobStatus(self.status)
        if self.error_type is not None:
            self.error_type = JobErrorType(self.error_type)
        if self.message is None:
            self.message = _MESSAGES[self.status]


@dataclasses.dataclass(kw_only=True)
class JobDetails(JobInfo):
    """A job with its ids; `job_id` and `driver_info` are not told here, so they are None."""

    type: JobType = JobType.SUBMISSION
    submission_id: str | None = None
    job_id: str | None = None
    driver_info: DriverInfo | None = None

    def dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dataclasses.asdict(self)

    model_dump = dict


_MESSAGES = {
    JobStatus.PENDING: "Job has not started yet. It may be waiting for resources or for its "
    "runtime environment.",
    JobStatus.RUNNING: "Job is currently running.",
    JobStatus.STOPPED: "Job was intentionally stopped.",
    JobStatus.SUCCEEDED: "Job finished successfully.",
    JobStatus.FAILED: "Job failed.",
}


class JobSubmissionClient:
    """Submits to the session at `address`, and asks about its jobs.

    None: the session that this process is in, else that of the environment, else the one that
    `whipray start` has started last.  ConnectionError if there is none; http addresses are refused,
    as there is no server.  Cookies, headers and `verify` are for one, and without meaning.
    """

    def __init__(
        self,
        address: str | None = None,
        create_cluster_if_needed: bool = False,
        cookies: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
        verify: str | bool | None = True,
    ) -> None:
        if address is not None and not isinstance(address, str):
            raise TypeError(f"address must be a string, got {type(address)}")
        if metadata is not None and not isinstance(metadata, dict):
            raise TypeError(f"metadata must be a dict, got {type(metadata)}")
        self._session_dir = _session_dir(address)
        self._metadata = metadata or {}

    def get_address(self) -> str:
        """Address of the session."""
        return f"unix:{os.path.join(self._session_dir, 'sock')}"

    def submit_job(
        self,
        *,
        entrypoint: str,
        job_id: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
        submission_id: str | None = None,
        entrypoint_num_cpus: float | None = None,
        entrypoint_num_gpus: float | None = None,
        entrypoint_memory: int | None = None,
        entrypoint_resources: dict[str, float] | None = None,
        entrypoint_label_selector: dict[str, str] | None = None,
    ) -> str:
        """Start `entrypoint`, a command of the shell, as a job, and return the job's id.

        Its drivers join the session by themselves and have `runtime_env`; it starts in the snapshot
        of the working_dir, with the variables, and with `python` of the pip or uv environment.
        Resources are held while it runs.  ValueError for an id that is taken, and all errors of a
        runtime_env.
        """
        if not isinstance(entrypoint, str) or not entrypoint:
            raise TypeError(f"entrypoint must be a command, not {entrypoint!r}")
        resources = _resources(
            num_cpus=entrypoint_num_cpus,
            num_gpus=entrypoint_num_gpus,
            memory=entrypoint_memory,
            resources=entrypoint_resources,
            label_selector=entrypoint_label_selector,
        )
        name = submission_id or job_id or _new_id()
        facts = {"job_submission_id": name, "job_name": name}
        info = {
            "submission_id": name,
            "entrypoint": entrypoint,
            "status": "PENDING",
            "start_time": jobs.now(),
            "runtime_env": _runtime_env(self._session_dir, runtime_env),
            "metadata": {**facts, **self._metadata, **_texts(metadata)},
            "resources": resources,
        }
        folder, lock = jobs.create(self._session_dir, info)
        try:
            self._start_supervisor(name, folder, lock)
        finally:
            os.close(lock)
        return name

    def _start_supervisor(self, name: str, folder: str, lock: int) -> None:
        with open(jobs.log_of(self._session_dir, name), "wb") as log:
            subprocess.run(
                child.command("whipray._private.job_supervisor", folder, str(lock)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,
                check=True,
            )

    def stop_job(self, job_id: str) -> bool:
        """Ask the job to end, and kill it after a while; False if it is done already."""
        return jobs.ask_to_stop(jobs.folder_of(self._session_dir, job_id))

    def delete_job(self, job_id: str) -> bool:
        """Remove the record of a job that is done; its output stays.  RuntimeError if it is not."""
        jobs.delete(jobs.folder_of(self._session_dir, job_id))
        return True

    def get_job_info(self, job_id: str) -> JobDetails:
        """All about a job; RuntimeError if there is none with this id."""
        folder = jobs.folder_of(self._session_dir, job_id)
        try:
            return _details(jobs.current(folder))
        except FileNotFoundError:
            raise RuntimeError(f"Job {job_id} does not exist.") from None

    def get_job_status(self, job_id: str) -> JobStatus:
        """Where the job is in its life."""
        return self.get_job_info(job_id).status

    def list_jobs(self) -> list[JobDetails]:
        """The jobs that were submitted, in that order."""
        return [_details(info) for info in jobs.all_of(self._session_dir)]

    def get_job_logs(self, job_id: str) -> str:
        """What the job has written so far."""
        jobs.folder_of(self._session_dir, job_id)
        path = jobs.log_of(self._session_dir, job_id)
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """What the job writes, from its start to its end."""
        for text in self._log_pieces(job_id):
            if text:
                yield text
            else:
                await asyncio.sleep(LOOK_SECONDS)

    def _log_pieces(self, job_id: str) -> Iterator[str]:
        """The same for who waits in another way: "" says that there is nothing new for now."""
        jobs.folder_of(self._session_dir, job_id)
        path = jobs.log_of(self._session_dir, job_id)
        with open(path, encoding="utf-8", errors="replace") as file:
            while True:
                done = self.get_job_status(job_id).is_terminal()
                while text := file.read(1 << 16):
                    yield text
                if done:
                    return
                yield ""


def _session_dir(address: str | None) -> str:
    if address is None and _core.attached():
        return str(_core.info()["session_dir"])
    if address and address.startswith(("http:", "https:", "ray:")):
        raise ConnectionError(
            f"JobSubmissionClient({address!r}): there is no server to talk to. Give the address of "
            "a session, unix:<socket>, or none for the last that was started."
        )
    socket = machine.find_address(address or "auto")
    if socket is None:
        raise ConnectionError("there is no session with the address 'local'")
    return os.path.dirname(socket)


def _new_id() -> str:
    return "raysubmit_" + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def _texts(metadata: dict[str, str] | None) -> dict[str, str]:
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map strings to strings, not {key!r} to {value!r}")
    return metadata or {}


def _resources(**asked: Any) -> dict[str, Any]:
    """Options of the actor that holds them; {} when nothing is asked for."""
    from whipray._private import options

    found = {name: value for name, value in asked.items() if value}
    options.check_actor(found, True)
    return {"num_cpus": 0, **found} if found else {}


def _runtime_env(session_dir: str, runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Checked, with snapshots of its directories, so that they may change at once."""
    from whipray._private.envs import fields, resolve

    found = fields.checked(runtime_env)
    hook = found.get("worker_process_setup_hook")
    if hook is not None and not isinstance(hook, str):
        raise ValueError(
            "worker_process_setup_hook of a job must be the name of a function, not a function; "
            "give a function to init() in the program."
        )
    return resolve.with_snapshots(session_dir, found)


def _details(info: dict[str, Any]) -> JobDetails:
    known = {field.name for field in dataclasses.fields(JobDetails)}
    return JobDetails(**{name: value for name, value in info.items() if name in known})
