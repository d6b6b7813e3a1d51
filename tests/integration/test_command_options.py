"""What scripts and newcomers type after `ray`: it works, or an error says at once why not."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

import pytest

from tests.integration.conftest import Shell
from whipray.cli import absent

HEAD = "import os, sys, time\nimport whipray as ray\nray.init('auto', namespace='n')\n"


def test_start_takes_what_scripts_give(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text("# of this machine\nzone: here\nsize: 'small'\n")
    given = (
        "--port 6379 --num-cpus 2 --memory 1000000000 --dashboard-host 0.0.0.0 "
        "--dashboard-port=8265 --include-dashboard false --disable-usage-stats --no-monitor "
        "--object-store-memory 100000000 --node-ip-address 127.0.0.1 --min-worker-port 10002 "
        "--max-worker-port 19999 --metrics-export-port 8080 --log-style record --log-color false "
        "-v --labels size=large,colour=green"
    ).split()
    more = ["--labels-file", str(tmp_path / "labels.yaml"), "--resources", '{"wheel": 2}']
    shell.whipray("start", "--head", *given, *more)
    program = """
    labels = ray.nodes()[0]["Labels"]
    print(*(labels[name] for name in ("zone", "size", "colour")))
    print(round(ray.cluster_resources()["memory"], -3), ray.cluster_resources()["wheel"])
    """
    assert shell.driver(program) == "here large green\n1000000000.0 2.0\n"


def test_start_says_where_spilled_objects_go(shell: Shell, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    arguments = ["--object-store-memory", "80000000", "--object-spilling-directory", str(spill)]
    shell.whipray("start", "--head", "--num-cpus=1", *arguments)
    program = "refs = [ray.put(bytes(20 << 20)) for _ in range(8)]\nprint(len(ray.get(refs[0])))"
    assert shell.driver(program) == f"{20 << 20}\n"
    assert spill.is_dir()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--address", "127.0.0.1:6379"], "one machine"),
        (["--head", "--labels", "colour"], "'colour' is not of the form name=value"),
        (["--head", "--labels", "a b=c"], "Invalid label key"),
        (["--head", "--labels-file", "/no/such"], "No such file"),
        (["--head", "--system-config", "x"], "--system-config is not JSON"),
        (["--head", "--autoscaling-config", "x"], "nothing to scale"),
    ],
)
def test_start_refuses_what_makes_no_sense(shell: Shell, arguments: list[str], text: str) -> None:
    assert text in shell.whipray("start", *arguments, code=1)


def test_health(shell: Shell) -> None:
    assert "Could not find" in shell.whipray("health-check", code=1)
    shell.whipray("start", "--head", "--num-cpus=1")
    assert shell.whipray("health-check", "--skip-version-check") == ""
    assert "no component 'serve'" in shell.whipray("health-check", "--component", "serve", code=1)


@pytest.mark.parametrize("name", sorted(absent._REASONS))
def test_what_is_absent_says_why(shell: Shell, name: str) -> None:
    text = shell.whipray(name, "cluster.yaml", "--yes", "-n", "x", code=1)
    assert f"`{name}` is not available: " in text and text.count("\n") == 1


def test_usage_statistics(shell: Shell) -> None:
    assert "never collected" in shell.whipray("disable-usage-stats")


def test_looking_at_a_session(started: Shell) -> None:
    program = """
    @ray.remote
    class Keeper:
        def say(self):
            print("said", flush=True)
    keeper = Keeper.options(name="keeper", num_cpus=0.5).remote()
    ray.get(keeper.say.remote())
    waits = Keeper.options(num_cpus=2.75).remote()
    big = ray.put(bytes(1 << 20))
    print("there", flush=True)
    sys.stdin.readline()
    """
    with started.background("-c", HEAD + textwrap.dedent(program)) as driver:
        assert driver.stdout is not None and driver.stdin is not None
        while driver.stdout.readline() != "there\n":
            pass
        _look(started, driver.pid)
        driver.stdin.close()


def _look(started: Shell, driver: int) -> None:
    assert "{'CPU': 2.75}: 1+ pending tasks/actors" in started.whipray("status", "-v")
    assert started.whipray("memory", "--stats-only").count("\n") == 1
    units = started.whipray("memory", "--units", "MB", "--sort-by", "PID", "--n", "5")
    assert "OBJECT_SIZE (MB)" in units and "1.000" in units
    assert "invalid choice" in started.whipray("memory", "--sort-by", "nope", code=2)
    started.whipray("memory", "--group-by", "STACK_TRACE", "--num-entries", "1", "--no-format")

    rows = json.loads(started.whipray("list", "actors", "--format", "json", "--timeout", "5"))
    assert {row["name"] for row in rows} == {"keeper", ""}
    assert rows[0]["label_selector"] is None, "a row has all its columns"
    [actor] = [row for row in rows if row["name"]]
    text = started.whipray("list", "actors", "--format", "yaml", "-f", "name=keeper")
    assert text.startswith(f'---\n- actor_id: "{actor["actor_id"]}"\n  class_name: "Keeper"\n')
    assert "label_selector: {}" in started.whipray("list", "actors", "--detail")
    assert "LABEL_SELECTOR" in started.whipray("list", "actors", "--detail", "--format", "table")
    assert "0 rows" in started.whipray("list", "placement_groups")
    assert "0 rows" in started.whipray("list", "actors", "--limit", "0")
    for wrong, text in (
        (["--limit", "10001"], "exceeds the supported limit"),
        (["--limit", "-1"], "at least 0"),
        (["-f", "colour=x"], "not supported"),
        (["-f", "pid=x"], "Invalid"),
        (["--format", "nope"], "invalid choice"),
    ):
        assert text in started.whipray("list", "workers", *wrong, code=2)
    assert "not recorded" in started.whipray("list", "runtime-envs", code=2)
    assert "Odd-length" in started.whipray("get", "nodes", "x", code=2)
    assert "keeper" in started.whipray("get", "actors", actor["actor_id"], "--timeout=3")
    started.whipray("summary", "tasks", "--timeout", "3")

    name = f"worker-{actor['pid']}.log"
    for asked in (
        ["actor", "--id", actor["actor_id"]],
        ["worker", "--pid", str(actor["pid"])],
        ["cluster", name],
        [f"worker-{actor['pid']}*"],
        [name, "--tail", "1", "--timeout", "3"],
    ):
        assert started.whipray("logs", *asked) == "said\n"
    assert "not found" in started.whipray("logs", "actor", "--id", "ff" * 16, code=1)
    assert "name it by" in started.whipray("logs", "actor", code=1)
    assert "no log file" in started.whipray("logs", "nope.log", code=1)

    assert "No named actor found: nobody" in started.whipray(
        "kill-actor", "--name", "nobody", "--namespace", "n", code=1
    )
    assert "Actor ended: keeper" in started.whipray("kill-actor", "--name", "keeper")
    assert "0 rows" in started.whipray("list", "actors", "-f", "name=keeper", "-f", "state=ALIVE")


def test_stacks_without_py_spy(started: Shell, tmp_path: Path) -> None:
    started.env["PATH"] = str(tmp_path)
    assert "pip install py-spy" in started.whipray("stack", code=1)


def test_stacks_of_each_process(started: Shell, tmp_path: Path) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text('#!/bin/sh\necho "spied on $@"\n')
    spy.chmod(0o755)
    started.env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    with started.background("-c", f"{HEAD}print('there', flush=True)\ninput()") as driver:
        assert driver.stdout is not None and driver.stdin is not None
        driver.stdout.readline()
        assert f"spied on dump --pid {driver.pid}\n" in started.whipray("stack")
        driver.stdin.close()


def test_job_commands_take_what_scripts_give(started: Shell) -> None:
    style = ["--log-style", "record", "--log-color", "false", "-v", "--verify", "false"]
    more = ["--headers", "{}", "--entrypoint-num-cpus", "1", "--entrypoint-label-selector", "{}"]
    submit = ["job", "submit", *style, *more, "--submission-id", "one", "--", "echo", "hello"]
    assert "hello\n" in started.whipray(*submit)
    for command in ("status", "logs", "delete"):
        started.whipray("job", command, *style, "one")
    started.whipray("job", "list", *style)


def test_stop_takes_what_scripts_give(started: Shell) -> None:
    text = started.whipray("stop", "--force", "-g", "3", "--log-color", "false", "-v")
    assert "Stopped 1 session" in text


def test_versions(shell: Shell) -> None:
    assert shell.whipray("--version").startswith("whipray ")
    body = "import sys; from whipray.cli import main; sys.argv[0] = '/bin/ray'; main(['--version'])"
    assert shell.python("-c", body) == "ray, version 2.60.0\n"
