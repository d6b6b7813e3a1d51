"""Jobs: their states, whatever ends them, their output, their environment and resources."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from tests.compat.helpers import Gate, process_gone, wait_until
from tests.integration.test_runtime_env_setup import tiny_wheel
from whipray._private import jobs
from whipray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from whipray.util import state

PYTHON = sys.executable


@pytest.fixture(scope="module")
def session() -> Iterator[str]:
    context = whipray.init(num_cpus=3, resources={"slot": 1}, log_to_driver=False)
    yield context["session_dir"]
    whipray.shutdown()


@pytest.fixture
def client(session: str) -> JobSubmissionClient:
    return JobSubmissionClient()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a program, in which `ray` is there, and gives the command that runs it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))

    def write(body: str) -> str:
        path = tmp_path / "program.py"
        path.write_text("import os, sys, time\nimport whipray as ray\n" + textwrap.dedent(body))
        return f"{PYTHON} {path}"

    return write


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tiny_wheel(tmp_path)


def ended(client: JobSubmissionClient, name: str) -> JobDetails:
    """The job once it is done."""
    wait_until(lambda: client.get_job_status(name).is_terminal())
    return client.get_job_info(name)


def pid_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))


# ---- ends ----------------------------------------------------------------------------------------


def test_a_job_that_succeeds(
    client: JobSubmissionClient, program: Callable[[str], str], session: str
) -> None:
    command = program("""
        ray.init()
        print(ray.get(ray.remote(lambda: "from a task").remote()))
        print(os.environ["RAY_ADDRESS"])
    """)
    name = client.submit_job(entrypoint=command, metadata={"owner": "me"})
    assert name.startswith("raysubmit_")
    info = ended(client, name)
    assert info.status == JobStatus.SUCCEEDED == "SUCCEEDED", info.message
    assert client.get_job_logs(name).splitlines() == ["from a task", client.get_address()]
    assert info.driver_exit_code == 0 and info.message == "Job finished successfully."
    assert info.submission_id == name and info.entrypoint == command and info.type == "SUBMISSION"
    assert info.metadata is not None and info.metadata["owner"] == "me"
    assert info.start_time is not None and info.end_time is not None
    assert info.start_time <= info.end_time
    assert info.dict()["status"] == "SUCCEEDED"


def test_a_job_that_fails(client: JobSubmissionClient) -> None:
    info = ended(client, client.submit_job(entrypoint="echo so; exit 7"))
    assert info.status == "FAILED" and info.driver_exit_code == 7
    assert info.error_type == "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert info.message is not None and "exit code 7" in info.message and "so\n" in info.message


def test_a_job_whose_process_is_killed(client: JobSubmissionClient, tmp_path: Path) -> None:
    place = tmp_path / "pid"
    name = client.submit_job(entrypoint=f"echo $$ > {place}.new; mv {place}.new {place}; sleep 600")
    pid = pid_in(place)
    wait_until(lambda: client.get_job_status(name) == "RUNNING")
    os.killpg(pid, signal.SIGKILL)
    info = ended(client, name)
    assert info.status == "FAILED" and info.driver_exit_code == -signal.SIGKILL


def test_a_job_whose_supervisor_is_killed(
    client: JobSubmissionClient, tmp_path: Path, session: str
) -> None:
    place = tmp_path / "pid"
    name = client.submit_job(entrypoint=f"echo $$ > {place}.new; mv {place}.new {place}; sleep 600")
    pid = pid_in(place)
    wait_until(lambda: client.get_job_status(name) == "RUNNING")
    folder = jobs.folder_of(session, name)
    os.kill(json.loads(Path(folder, "info.json").read_text())["supervisor"], signal.SIGKILL)
    info = ended(client, name)
    assert info.status == "FAILED" and info.message == jobs.LOST
    assert info.error_type == "JOB_SUPERVISOR_ACTOR_DIED"
    wait_until(lambda: process_gone(pid))


def test_what_a_killed_driver_has_started_ends(
    client: JobSubmissionClient, program: Callable[[str], str], tmp_path: Path
) -> None:
    command = program(f"""
        ray.init()
        @ray.remote
        def work():
            with open({str(tmp_path / "new")!r}, "w") as file:
                file.write(str(os.getpid()))
            os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "worker")!r})
            time.sleep(600)
        ref = work.remote()
        while not os.path.exists({str(tmp_path / "worker")!r}):
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    """)
    info = ended(client, client.submit_job(entrypoint=command))
    assert info.status == "FAILED" and info.driver_exit_code in (-9, 137)
    worker = pid_in(tmp_path / "worker")
    wait_until(lambda: process_gone(worker))


def test_a_job_that_is_stopped_takes_its_children_along(
    client: JobSubmissionClient, tmp_path: Path
) -> None:
    place = tmp_path / "pid"
    name = client.submit_job(
        entrypoint=f"sleep 600 & echo $! > {place}.new; mv {place}.new {place}; wait"
    )
    pid = pid_in(place)
    assert client.stop_job(name) is True
    assert ended(client, name).status == "STOPPED"
    wait_until(lambda: process_gone(pid))
    assert client.stop_job(name) is False


def test_a_job_that_does_not_want_to_stop_is_killed(
    client: JobSubmissionClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "0.2")
    place = tmp_path / "pid"
    name = client.submit_job(
        entrypoint=f"trap '' TERM; echo $$ > {place}.new; mv {place}.new {place}; "
        "while true; do sleep 0.1; done"
    )
    pid = pid_in(place)
    client.stop_job(name)
    assert ended(client, name).status == "STOPPED"
    wait_until(lambda: process_gone(pid))


def test_stopping_at_once_is_not_lost(client: JobSubmissionClient) -> None:
    names = [client.submit_job(entrypoint="sleep 600") for _ in range(3)]
    for name in names:
        assert client.stop_job(name)
    for name in names:
        assert ended(client, name).status == "STOPPED"


def test_a_job_outlives_its_submitter_and_ends_with_its_session(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    body = f"""
        import os, sys, whipray
        from whipray.job_submission import JobSubmissionClient
        whipray.init(num_cpus=1)
        client = JobSubmissionClient()
        client.submit_job(
            entrypoint="echo $$ > {place}.new; mv {place}.new {place}; sleep 600")
        while not os.path.exists({str(place)!r}):
            pass
    """
    done = subprocess.run(
        [PYTHON, "-c", textwrap.dedent(body)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(e for e in sys.path if e)},
        timeout=120,
    )
    assert done.returncode == 0
    wait_until(lambda: process_gone(pid_in(place)))


# ---- what a job is given -------------------------------------------------------------------------


def test_environment_of_the_entrypoint_and_its_tasks(
    client: JobSubmissionClient, program: Callable[[str], str], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "beside.py").write_text("VALUE = 5\n")
    command = program("""
        ray.init()
        @ray.remote
        def work():
            import beside
            return beside.VALUE, os.environ["COLOUR"]
        print(*ray.get(work.remote()), os.environ["COLOUR"], os.path.exists("beside.py"))
    """)
    name = client.submit_job(
        entrypoint=command,
        runtime_env={"working_dir": str(folder), "env_vars": {"COLOUR": "green"}},
    )
    (folder / "beside.py").unlink()
    info = ended(client, name)
    assert client.get_job_logs(name) == "5 green green True\n", info.message


def test_python_of_a_job_has_the_packages_of_its_own(
    client: JobSubmissionClient, tmp_path: Path, wheel: Path
) -> None:
    body = "import whipray_tries_this, whipray; print(whipray_tries_this.VALUE)"
    options = ["--no-index", "--disable-pip-version-check"]
    env = {"pip": {"packages": [str(wheel)], "pip_install_options": options}}
    name = client.submit_job(entrypoint=f"python -c '{body}'", runtime_env=env)
    info = ended(client, name)
    assert client.get_job_logs(name) == "5\n", info.message
    env["pip"]["packages"] = ["no-such-package-anywhere"]
    info = ended(client, client.submit_job(entrypoint="exit 0", runtime_env=env))
    assert info.status == "FAILED" and info.error_type == "RUNTIME_ENV_SETUP_FAILURE"
    assert info.message is not None and "No matching distribution" in info.message


def test_resources_are_held_and_waited_for(
    client: JobSubmissionClient, tmp_path: Path, session: str
) -> None:
    gate = Gate(tmp_path / "gate")
    wait = f"while ! test -e {gate.path}; do sleep 0.05; done"
    given: dict[str, Any] = {"entrypoint": wait, "entrypoint_resources": {"slot": 1}}
    first = client.submit_job(**given)
    wait_until(lambda: client.get_job_status(first) == "RUNNING")
    assert "slot" not in whipray.available_resources()
    second, third = client.submit_job(**given), client.submit_job(**given)
    client.stop_job(third)
    assert ended(client, third).status == "STOPPED"
    assert client.get_job_status(second) == "PENDING"
    gate.open()
    assert ended(client, first).status == "SUCCEEDED"
    assert ended(client, second).status == "SUCCEEDED"
    wait_until(lambda: whipray.available_resources().get("slot") == 1)


# ---- records -------------------------------------------------------------------------------------


def test_listing_and_deleting(client: JobSubmissionClient, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    name = f"mine-{os.getpid()}"
    entrypoint = f"echo out; while ! test -e {gate.path}; do sleep 0.05; done"
    assert client.submit_job(entrypoint=entrypoint, submission_id=name) == name
    with pytest.raises(ValueError, match="already exists"):
        client.submit_job(entrypoint="true", submission_id=name)
    with pytest.raises(RuntimeError, match="non-terminal"):
        client.delete_job(name)
    assert client.list_jobs()[-1].submission_id == name
    (row,) = state.list_jobs(filters=[("type", "=", "SUBMISSION"), ("submission_id", "=", name)])
    assert row.entrypoint == entrypoint and row.status in ("PENDING", "RUNNING")
    found = state.get_job(name)
    assert found is not None and found.submission_id == name
    assert found.start_time == client.get_job_info(name).start_time
    gate.open()
    ended(client, name)
    assert client.delete_job(name)
    assert name not in [info.submission_id for info in client.list_jobs()]
    for ask in (client.get_job_status, client.get_job_logs, client.stop_job, client.delete_job):
        with pytest.raises(RuntimeError, match="does not exist"):
            ask(name)


def test_output_is_followed_to_its_end(client: JobSubmissionClient, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    name = client.submit_job(
        entrypoint=f"echo first; while ! test -e {gate.path}; do sleep 0.05; done; echo last"
    )

    async def follow() -> str:
        text = ""
        async for part in client.tail_job_logs(name):
            text += part
            if "first" in text:
                gate.open()
        return text

    assert asyncio.run(follow()) == "first\nlast\n"
    assert client.get_job_status(name) == "SUCCEEDED"


def test_what_makes_no_sense_is_refused(client: JobSubmissionClient) -> None:
    with pytest.raises(ConnectionError, match="no server"):
        JobSubmissionClient("http://127.0.0.1:8265")
    with pytest.raises(TypeError, match="entrypoint"):
        client.submit_job(entrypoint="")
    with pytest.raises(ValueError, match="letters"):
        client.submit_job(entrypoint="true", submission_id="../x")
    with pytest.raises(TypeError, match="metadata"):
        client.submit_job(entrypoint="true", metadata={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="negative"):
        client.submit_job(entrypoint="true", entrypoint_num_cpus=-1)
    with pytest.raises(ValueError, match="working_dir"):
        client.submit_job(entrypoint="true", runtime_env={"working_dir": "/no/such"})
    with pytest.raises(ValueError, match="worker_process_setup_hook"):
        client.submit_job(entrypoint="true", runtime_env={"worker_process_setup_hook": print})
    assert not any("true" == info.entrypoint for info in client.list_jobs())
