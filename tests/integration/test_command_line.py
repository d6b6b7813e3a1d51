"""The command line, and sessions that outlive the program that started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.compat.helpers import process_gone, wait_until
from tests.integration.conftest import Shell
from whipray._private import discovery

KEEPER = """
    @ray.remote(lifetime="detached", name="keeper", num_cpus=0, get_if_exists=True)
    class Keeper:
        def __init__(self):
            self.n = 0
        def add(self):
            self.n += 1
            return self.n
"""


def test_a_started_session_outlives_its_drivers(started: Shell) -> None:
    program = KEEPER + "    print(ray.get(Keeper.remote().add.remote()))"
    found = [started.driver(program, "namespace='n'").split()[-1] for _ in range(3)]
    assert found == ["1", "2", "3"]
    assert "keeper" in started.whipray("list", "actors")
    other = "try: ray.get_actor('keeper')\nexcept ValueError: print('not here')"
    assert "not here" in started.driver(other)


def test_status_shows_what_start_was_told(started: Shell) -> None:
    text = started.whipray("status")
    assert "0/3 CPU" in text and "0/2 wheel" in text and "drivers: 0" in text


def test_a_stopped_session_leaves_nothing(started: Shell) -> None:
    folder = started.session_dir()
    daemon = discovery.daemon_of(str(folder))
    assert daemon is not None
    assert "Stopped 1 session" in started.whipray("stop")
    assert process_gone(daemon) and not folder.exists()
    assert "No session runs" in started.whipray("stop")
    assert "Could not find any running session" in started.whipray("status", code=1)


def test_addresses(shell: Shell, started: Shell) -> None:
    address = f"unix:{started.session_dir()}/sock"
    say = "print('CPUs', ray.cluster_resources()['CPU'])"
    assert "CPUs 3.0" in shell.driver(say, "")
    assert "CPUs 3.0" in shell.driver(say, f"{address!r}")
    assert "CPUs 1.0" in shell.driver(say, "'local', num_cpus=1")
    for name in ("RAY_ADDRESS", "WHIPRAY_ADDRESS"):
        assert "CPUs 3.0" in shell.driver(say, "", **{name: address})
        assert "no session has its socket" in shell.driver(say, "", code=1, **{name: "/no/sock"})
        assert "CPUs 1.0" in shell.driver(say, "num_cpus=1", **{name: "local"})
    refused = "num_cpus must not be provided"
    said = shell.driver(say, "num_cpus=1", code=1)
    assert refused in said and address in said and "local" in said
    refused = "_system_config must not be provided"
    assert refused in shell.driver(say, "_system_config={'a': 1}", code=1)


def test_auto_insists_on_a_session(shell: Shell) -> None:
    assert "Could not find any running session" in shell.driver("", code=1)
    assert "CPUs" in shell.driver("print('CPUs')", "num_cpus=1")


def test_commands_find_the_sessions_of_programs(shell: Shell) -> None:
    say = "print(whipray.init().address_info['address'], flush=True)"
    with shell.background("-c", f"import whipray\n{say}\ninput()") as driver:
        assert driver.stdout is not None
        address = driver.stdout.readline().strip()
        for found in (shell.whipray("status"), shell.whipray("status", "--address", address)):
            assert address in found and "drivers: 1" in found
        driver.communicate("\n")
    assert "Could not find any running session" in shell.whipray("status", code=1)


def test_the_session_of_a_killed_daemon_is_not_found(started: Shell) -> None:
    daemon = discovery.daemon_of(str(started.session_dir()))
    assert daemon is not None
    driver = started.background(
        "-c",
        "import whipray as ray, time\nray.init('auto')\n"
        "ref = ray.remote(time.sleep).remote(600)\nprint('there', flush=True)\nray.get(ref)",
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "there\n"
        os.kill(daemon, signal.SIGKILL)
        text = driver.stdout.read()
    assert driver.returncode == 1 and "the session has ended" in text
    assert "Could not find any running session" in started.driver("", code=1)


def test_start_and_block(shell: Shell) -> None:
    with shell.background("-m", "whipray", "start", "--head", "--num-cpus=1", "--block") as first:
        assert first.stdout is not None
        wait_until(lambda: os.path.lexists(shell.folder / discovery.CURRENT))
        assert "CPUs 1" in shell.driver("print('CPUs', int(ray.cluster_resources()['CPU']))")
        folder = shell.session_dir()
        first.send_signal(signal.SIGTERM)
        assert "Whipray runtime started" in first.stdout.read()
    assert first.returncode == 0 and not folder.exists()


def test_jobs_are_isolated_and_share(started: Shell) -> None:
    """One driver fills the session and leaves in the middle; the other gets its turn all along."""
    busy = """
        @ray.remote
        def hold(): time.sleep(600)
        refs = [hold.remote() for _ in range(3)]
        @ray.remote(num_cpus=0)
        class Own:
            def pid(self): return os.getpid()
        own = Own.options(name="own").remote()
        print(json.dumps(ray.get(own.pid.remote())), flush=True)
        sys.stdin.readline()
        os._exit(0)
    """
    head = "import os, sys, time, json\nimport whipray as ray\nray.init('auto', namespace='n')\n"
    with started.background("-c", head + textwrap.dedent(busy)) as driver:
        assert driver.stdout is not None and driver.stdin is not None
        pid = json.loads(driver.stdout.readline())
        count = "print(ray.get(ray.remote(num_cpus=0)(lambda: 'served').remote()))"
        assert "served" in started.driver(count)
        assert "drivers: 1" in started.whipray("status")
        driver.stdin.write("\n")
        driver.stdin.flush()
    wait_until(lambda: process_gone(pid))
    wait_until(lambda: "0/3 CPU" in started.whipray("status"))
    assert "own" not in started.whipray("list", "actors", "--filter", "state=ALIVE")


def test_listings(started: Shell) -> None:
    program = (
        KEEPER
        + """
    keeper = Keeper.remote()
    ray.get(keeper.add.remote())
    big = ray.put(bytes(1 << 20))
    @ray.remote
    def wait_for_ever(): time.sleep(600)
    ref = wait_for_ever.options(name="dozing").remote()
    print("there", flush=True)
    sys.stdin.readline()
    """
    )
    head = "import os, sys, time\nimport whipray as ray\nray.init('auto', namespace='n')\n"
    with started.background("-c", head + textwrap.dedent(program)) as driver:
        assert driver.stdout is not None and driver.stdin is not None
        assert driver.stdout.readline() == "there\n"
        rows = json.loads(started.whipray("list", "tasks", "--format", "json"))
        assert "dozing" in [row["name"] for row in rows]
        [actor] = json.loads(started.whipray("list", "actors", "--format=json", "--detail"))
        assert actor["name"] == "keeper" and actor["is_detached"]
        assert json.loads(started.whipray("get", "actors", actor["actor_id"], "--format=json"))
        assert "class_name: Keeper\n" in started.whipray("get", "actors", actor["actor_id"])
        assert "no" in started.whipray("get", "actors", "ff" * 16, code=1)
        assert "0 rows" in started.whipray("list", "actors", "-f", "class_name!=Keeper")
        assert "more rows than 1; see --limit" in started.whipray("list", "tasks", "--limit", "1")
        assert "more rows" not in started.whipray("list", "tasks", "--limit", str(len(rows)))
        assert "at least 0" in started.whipray("list", "tasks", "--limit", "-3", code=2)
        drivers = ("-f", "worker_type=DRIVER", "--format=json")
        [worker] = json.loads(started.whipray("list", "workers", *drivers))
        [job] = json.loads(started.whipray("list", "jobs", "--format=json", "--detail"))
        assert worker["pid"] == int(job["driver_info"]["pid"]) == driver.pid
        assert "\n1 row\n" in started.whipray("list", "jobs")
        assert "1.0 MiB" in started.whipray("memory")
        assert "Keeper" in started.whipray("summary", "actors")
        dump = started.whipray("debug", "dump")
        for text in ("runs a task", "Keeper n/keeper: ALIVE", "dozing: RUNNING", "CPU: 1 of 3"):
            assert text in dump
        assert dump.count(" driver ") == 1, "who asks is not listed"
        assert "whiprayd.log" in started.whipray("logs")
        assert "not of the form" in started.whipray("list", "tasks", "-f", "x", code=1)
        driver.stdin.close()


def test_timeline(started: Shell, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert "RAY_PROFILING=1" in started.whipray("timeline", str(path), code=1)
    assert not path.exists()
    profiling = "runtime_env={'env_vars': {'RAY_PROFILING': '1'}}"
    started.driver(f"ray.get(ray.remote(len).options(name='measure', {profiling}).remote([]))")
    assert str(path) in started.whipray("timeline", str(path))
    assert "measure" in [event["name"] for event in json.loads(path.read_text())]


def test_a_listing_of_nothing(started: Shell) -> None:
    assert started.whipray("list", "placement-groups") == "0 rows\n"


def test_submitted_programs(started: Shell, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 5\n")
    (tmp_path / "main.py").write_text(
        textwrap.dedent("""
            import os, sys, whipray as ray
            ray.init()
            @ray.remote
            def work():
                import beside
                return beside.VALUE, os.environ["COLOUR"], ray.cluster_resources()["CPU"]
            print(*ray.get(work.remote()), *sys.argv[1:])
            sys.exit(3)
        """)
    )
    env = json.dumps({"env_vars": {"COLOUR": "green"}})
    job = ["job", "submit", "--working-dir", str(tmp_path), "--runtime-env-json", env, "--"]
    found = started.whipray(*job, sys.executable, "main.py", "-x", code=3).splitlines()
    assert found[0].endswith("submitted successfully") and found[1] == "5 green 3.0 -x"
    assert "exit code 3" in found[3]
    assert "name the command" in started.whipray("job", "submit", code=1)


def test_jobs_from_their_submission_to_their_deletion(started: Shell) -> None:
    submit = ["job", "submit", "--submission-id", "mine", "--no-wait"]
    assert "'mine' submitted" in started.whipray(*submit, "--", "echo", "a b;", "$HOME")
    assert started.whipray("job", "logs", "mine", "--follow") == "a b; $HOME\n"
    assert started.whipray("job", "status", "mine") == "Job 'mine' succeeded\n"
    assert "already exists" in started.whipray(*submit, "--", "true", code=1)
    rows = json.loads(started.whipray("job", "list", "--format", "json"))
    assert [(row["submission_id"], row["status"]) for row in rows] == [("mine", "SUCCEEDED")]
    assert "SUCCEEDED" in started.whipray("job", "list")
    assert "deleted" in started.whipray("job", "delete", "mine")
    assert "does not exist" in started.whipray("job", "status", "mine", code=1)
    started.whipray("job", "submit", "--submission-id", "long", "--no-wait", "--", "sleep", "600")
    assert "'long' was stopped" in started.whipray("job", "stop", "long")
    assert "exit code -9" in started.whipray("job", "submit", "--", "kill -9 $$", code=137)
    assert "not JSON" in started.whipray("job", "submit", "--metadata-json", "{", "--", "x", code=1)
    assert "No such file" in started.whipray("job", "submit", "--runtime-env", "/x", "y", code=1)


def test_a_job_goes_on_when_its_submission_is_interrupted(started: Shell) -> None:
    arguments = ["job", "submit", "--submission-id", "long", "--", "sleep", "600"]
    body = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    body += f"from whipray.cli import main; sys.exit(main({arguments!r}))"
    with started.background("-c", body) as submission:
        assert submission.stdout is not None
        assert "submitted" in submission.stdout.readline()
        submission.send_signal(signal.SIGINT)
        assert submission.stdout.read() == ""
    assert submission.returncode == 128 + signal.SIGINT
    wait_until(lambda: "RUNNING" in started.whipray("job", "status", "long"))
    started.whipray("job", "stop", "long")


def test_a_second_session_is_refused(started: Shell) -> None:
    text = started.whipray("start", "--head", code=1)
    assert "already runs" in text and str(started.session_dir()) in text
    started.whipray("stop")
    started.whipray("start", "--head", "--num-cpus", "1")


@pytest.mark.parametrize("command", [["debug", "dump"], ["list", "nodes"], ["memory"]])
def test_a_reader_that_leaves_is_no_trouble(started: Shell, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "whipray", *command],
            env=started.env,
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["start"], "give --head"),
        (["start", "--head", "--resources", "{"], "not JSON"),
        (["start", "--head", "--num-cpus", "-1"], "cannot be negative"),
        (["start", "--head", "--object-store-memory", "5"], "too small"),
        (["status", "--address", "unix:/no/such/sock"], "no session has its socket"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, arguments: list[str], text: str) -> None:
    assert text in shell.whipray(*arguments, code=1)


def test_help_and_unknown_commands(shell: Shell) -> None:
    text = shell.whipray("--help")
    assert all(name in text for name in ("start", "stop", "status", "list", "job", "run"))
    assert "invalid choice" in shell.whipray("fly", code=2)
