"""`whipray job`: run programs as jobs of a session, and look after them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from whipray.cli import accepted, joining
from whipray.cli.values import json_object

if TYPE_CHECKING:
    from whipray.job_submission import JobStatus, JobSubmissionClient


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    job = commands.add_parser("job", help="run programs as jobs of a session")
    actions = job.add_subparsers(metavar="ACTION", required=True)
    _add_submit(actions)
    listing = actions.add_parser("list", help="the jobs that were submitted")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    _finish(listing)
    listing.set_defaults(run=_list)
    for name, run, help_text in (
        ("status", _status, "where a job is in its life"),
        ("logs", _logs, "what a job has written"),
        ("stop", _stop, "end a job"),
        ("delete", _delete, "remove the record of a job that is done"),
    ):
        action = actions.add_parser(name, help=help_text)
        action.add_argument("job_id", metavar="ID", help="of the job, as `submit` has shown it")
        _finish(action)
        action.set_defaults(run=run)
        if name == "logs":
            action.add_argument("-f", "--follow", action="store_true", help="until the job is done")
        if name == "stop":
            action.add_argument("--no-wait", action="store_true", help="do not wait for its end")


def _add_submit(actions: Any) -> None:
    submit = actions.add_parser(
        "submit",
        help="start a job, and show what it writes",
        description="Start a command whose init() joins the session. It goes on when this command "
        "is interrupted; without --no-wait, this ends as the job does.",
    )
    submit.add_argument("--submission-id", "--job-id", help="id of the job; default: a new one")
    submit.add_argument("--working-dir", help="directory of which it gets a copy and starts there")
    submit.add_argument("--runtime-env", help="file with its runtime_env as JSON")
    submit.add_argument("--runtime-env-json", default="{}", help="its runtime_env as JSON")
    submit.add_argument("--metadata-json", default="{}", help="texts by name, as JSON")
    submit.add_argument("--entrypoint-num-cpus", type=float, help="CPUs it holds while it runs")
    submit.add_argument("--entrypoint-num-gpus", type=float, help="GPUs, likewise")
    submit.add_argument("--entrypoint-memory", type=int, help="bytes of memory, likewise")
    submit.add_argument("--entrypoint-resources", default="{}", help="others by name, as JSON")
    submit.add_argument("--no-wait", action="store_true", help="do not wait for its end")
    submit.add_argument("--entrypoint-label-selector", default="{}", help="labels, as JSON")
    submit.add_argument("command", nargs=argparse.REMAINDER, help="-- command arguments ...")
    _finish(submit)
    submit.set_defaults(run=_submit)


def _finish(parser: argparse.ArgumentParser) -> None:
    joining.add_address(parser)
    accepted.add_http(parser)
    accepted.add_style(parser)


def _client(options: argparse.Namespace) -> JobSubmissionClient:
    from whipray.job_submission import JobSubmissionClient

    return JobSubmissionClient(f"unix:{joining.socket_of(options.address)}")


def _submit(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ValueError("job submit: name the command after `--`")
    client = _client(options)
    name = client.submit_job(
        entrypoint=shlex.join(command) if len(command) > 1 else command[0],
        submission_id=options.submission_id,
        runtime_env=_runtime_env(options),
        metadata=json_object("--metadata-json", options.metadata_json),
        entrypoint_num_cpus=options.entrypoint_num_cpus,
        entrypoint_num_gpus=options.entrypoint_num_gpus,
        entrypoint_memory=options.entrypoint_memory,
        entrypoint_resources=json_object("--entrypoint-resources", options.entrypoint_resources),
        entrypoint_label_selector=json_object(
            "--entrypoint-label-selector", options.entrypoint_label_selector
        )
        or None,
    )
    print(f"Job '{name}' submitted successfully", flush=True)
    if options.no_wait:
        print(f"See `whipray job status {name}`, `job logs {name}`, `job stop {name}`.")
        return 0
    _follow(client, name)
    _say(client, name)
    return _exit_code(client, name)


def _runtime_env(options: argparse.Namespace) -> dict[str, Any]:
    found = json_object("--runtime-env-json", options.runtime_env_json)
    if options.runtime_env:
        with open(options.runtime_env, encoding="utf-8") as file:
            found = {**json_object(options.runtime_env, file.read()), **found}
    if options.working_dir:
        found["working_dir"] = os.path.abspath(options.working_dir)
    return found


def _exit_code(client: JobSubmissionClient, name: str) -> int:
    """That of the job, 128 and the number of a signal, or 1 when it has none."""
    info = client.get_job_info(name)
    if info.status == "SUCCEEDED":
        return 0
    code = info.driver_exit_code or 1
    return code if code > 0 else 128 - code


def _follow(client: JobSubmissionClient, name: str) -> None:
    from whipray.job_submission import LOOK_SECONDS

    for text in client._log_pieces(name):
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            time.sleep(LOOK_SECONDS)


def _say(client: JobSubmissionClient, name: str) -> JobStatus:
    info = client.get_job_info(name)
    print(f"Job '{name}' {_WORDS.get(info.status, f'is {info.status}')}", flush=True)
    if info.status == "FAILED":
        print(f"Status message: {info.message}")
    return info.status


_WORDS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "STOPPED": "was stopped"}


def _list(options: argparse.Namespace) -> int:
    from whipray.cli import listing

    rows = [info.dict() for info in _client(options).list_jobs()]
    if options.format == "json":
        print(json.dumps(rows, indent=2))
        return 0
    names = ["submission_id", "status", "entrypoint", "start_time", "end_time", "message"]
    listing.table(names, [[_shown(name, row[name]) for name in names] for row in rows])
    return 0


def _shown(name: str, value: Any) -> Any:
    if name.endswith("_time") and value:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value / 1000))
    return str(value).partition("\n")[0] if value is not None else None


def _status(options: argparse.Namespace) -> int:
    _say(_client(options), options.job_id)
    return 0


def _logs(options: argparse.Namespace) -> int:
    client = _client(options)
    if options.follow:
        _follow(client, options.job_id)
    else:
        sys.stdout.write(client.get_job_logs(options.job_id))
    return 0


def _stop(options: argparse.Namespace) -> int:
    client = _client(options)
    client.stop_job(options.job_id)
    while not options.no_wait:
        if client.get_job_status(options.job_id).is_terminal():
            _say(client, options.job_id)
            return 0
        time.sleep(0.05)
    return 0


def _delete(options: argparse.Namespace) -> int:
    _client(options).delete_job(options.job_id)
    print(f"Job '{options.job_id}' deleted successfully")
    return 0
