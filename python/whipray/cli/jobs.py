"""`whipray job submit`: run a program as a driver of a session."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from whipray.cli import joining


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    job = commands.add_parser("job", help="run programs as drivers of a session")
    actions = job.add_subparsers(metavar="ACTION", required=True)
    submit = actions.add_parser(
        "submit",
        help="run a command in the foreground",
        description="Run a command whose init() joins the session; ends as the command does.",
    )
    submit.add_argument("--working-dir", help="directory it starts in, and its working_dir")
    submit.add_argument("--runtime-env-json", default="{}", help="its runtime_env as JSON")
    submit.add_argument("command", nargs=argparse.REMAINDER, help="-- command arguments ...")
    joining.add_address(submit)
    submit.set_defaults(run=_submit)


def _submit(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ValueError("job submit: name the command after `--`")
    runtime_env = _runtime_env(options.runtime_env_json)
    if options.working_dir:
        runtime_env["working_dir"] = os.path.abspath(options.working_dir)
    environment = {**os.environ, "RAY_ADDRESS": f"unix:{joining.socket_of(options.address)}"}
    environment.pop("WHIPRAY_ADDRESS", None)
    environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": runtime_env})
    environment.update(runtime_env.get("env_vars", {}))
    sys.stdout.flush()
    if "working_dir" in runtime_env:
        os.chdir(runtime_env["working_dir"])
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        raise ValueError(f"can not run {command[0]}: {error.strerror}") from None


def _runtime_env(text: str) -> dict[str, Any]:
    from whipray._private.envs import fields

    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--runtime-env-json is not JSON: {error}") from None
    return fields.checked(found)
