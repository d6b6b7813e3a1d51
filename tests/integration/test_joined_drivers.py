"""Several drivers in one session; a session that has ended by itself; many descriptors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whipray
from tests.compat.helpers import wait_until
from tests.integration.records import wait_until_whole
from whipray import _core
from whipray.util import list_named_actors

DRIVER = 2  # enum wr_role


@pytest.fixture
def session() -> Iterator[dict[str, Any]]:
    whipray.init(num_cpus=2, log_to_driver=False, namespace="first")
    yield _core.info()
    whipray.shutdown()


def run(program: str, *args: str, code: int = 0, **env: str) -> Any:
    """What a driver of its own prints, as JSON."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *args],
        env={"PYTHONPATH": path, "PATH": "/nonexistent", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


JOIN = """
    import json, os, sys
    import whipray
    whipray.init("unix:" + sys.argv[1] + "/sock", namespace="second", log_to_driver=False,
                 runtime_env={"env_vars": {"COLOUR": "green"}})
    @whipray.remote
    def look():
        context = whipray.get_runtime_context()
        return sys.executable, os.environ["COLOUR"], context.namespace, os.getcwd()
    class Local:
        value = 3
    found = whipray.get(look.remote())
    value = whipray.get(whipray.put(Local())).value
    print(json.dumps([*found, value, sys.executable, os.getcwd()]))
"""


def test_workers_of_a_joined_driver_are_like_it(session: dict[str, Any]) -> None:
    python, colour, namespace, cwd, value, own_python, own_cwd = run(JOIN, session["session_dir"])
    assert (python, cwd) == (own_python, own_cwd)
    assert (colour, namespace, value) == ("green", "second", 3)
    assert whipray.get(whipray.remote(lambda: os.environ.get("COLOUR")).remote()) is None


def test_arrays_of_a_driver_that_has_left_stay_as_they_are(session: dict[str, Any]) -> None:
    program = """
        import json, os, sys
        import numpy as np, whipray
        whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
        large = whipray.get(whipray.put(np.full(1_000_000, 7)))
        small = whipray.get(whipray.put(np.full(1_000, 8)))
        whipray.shutdown()
        print("left", flush=True)
        sys.stdin.readline()
        found = [int(a.min()) for a in (large, small)] + [int(a.max()) for a in (large, small)]
        print(json.dumps(found))
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), session["session_dir"]],
        env={"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdin is not None and driver.stdout is not None
        assert driver.stdout.readline() == "left\n"
        others = [whipray.put(np.full(n, 9)) for n in (1_000_000, 1_000) for _ in range(6)]
        assert json.loads(driver.communicate("go\n", timeout=60)[0]) == [7, 8, 7, 8]
    assert len(others) == 12


def hears_that_it_is_cut_off(program: str, session: dict[str, Any]) -> None:
    """The program says so, and nothing of it stays in the session."""
    assert "the session has ended" in run(program, session["session_dir"])
    wait_until(lambda: len([p for p in _core.procs() if p["role"] == DRIVER]) == 1)
    wait_until_whole()


def test_a_driver_whose_connection_breaks_stops_using_the_session(session: dict[str, Any]) -> None:
    program = """
        import json, os, sys, time
        import whipray
        from whipray import _core
        whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
        kept = [whipray.put(bytes(100_000)) for _ in range(3)]
        os.closerange(3, 200)
        while _core.attached():
            time.sleep(0.01)
        try:
            whipray.remote(lambda: 1).remote()
        except whipray.exceptions.RaySystemError as error:
            print(json.dumps(str(error)), flush=True)
        os._exit(0)
    """
    hears_that_it_is_cut_off(program, session)


def test_a_loop_that_only_puts_ends_when_the_connection_breaks(session: dict[str, Any]) -> None:
    program = """
        import json, os, socket, sys
        import whipray
        whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
        links = {fd: os.path.realpath(f"/proc/self/fd/{fd}") for fd in range(3, 64)}
        [own] = [fd for fd, link in links.items() if "socket:" in link]
        connection = socket.socket(fileno=own)
        connection.shutdown(socket.SHUT_RDWR)
        try:
            while True:
                whipray.put(1)
        except whipray.exceptions.RaySystemError as error:
            print(json.dumps(str(error)), flush=True)
        os._exit(0)
    """
    hears_that_it_is_cut_off(program, session)


def test_detached_actors_go_on_without_their_driver(session: dict[str, Any]) -> None:
    program = """
        import json, os, sys
        import whipray
        whipray.init("unix:" + sys.argv[1] + "/sock", namespace="first", log_to_driver=False)
        @whipray.remote
        def child():
            return 5
        @whipray.remote(lifetime="detached", max_restarts=-1, max_task_retries=-1)
        class Keeper:
            def pid(self):
                return os.getpid()
            def spawn(self):
                return whipray.get(child.remote())
        started = Keeper.options(name="started", num_cpus=0).remote()
        whipray.get(started.pid.remote())
        late = [Keeper.options(name=f"late{i}").remote() for i in range(4)]
        whipray.remote(lambda: 1).options(max_retries=-1).remote()
        print(json.dumps(1), flush=True)
        os._exit(0)
    """
    run(program, session["session_dir"])
    started = whipray.get_actor("started")
    pid = whipray.get(started.pid.remote(), timeout=120)
    assert whipray.get(started.spawn.remote(), timeout=120) == 5
    os.kill(pid, signal.SIGKILL)
    assert whipray.get(started.pid.remote(), timeout=120) != pid
    late = [whipray.get_actor(f"late{i}") for i in range(4)]
    assert len(set(whipray.get([actor.pid.remote() for actor in late], timeout=120))) == 4
    for actor in [started, *late]:
        whipray.kill(actor)
    wait_until(lambda: all(row["job"] == session["slot"] for row in _core.procs()[1:]))
    wait_until_whole()
    wait_until(lambda: whipray.available_resources()["CPU"] == 2)


@pytest.mark.parametrize("ending", ["pass", "whipray.shutdown()", "os._exit(0)", "kill"])
def test_what_a_driver_has_sent_to_a_detached_actor_runs(
    session: dict[str, Any], ending: str, tmp_path: Path
) -> None:
    """Also what it sends to one that is about to be made as it leaves."""
    program = """
        import json, os, signal, sys
        import whipray
        address, number, out, ending = sys.argv[1:]
        whipray.init(f"unix:{address}/sock", namespace="first", log_to_driver=False)
        @whipray.remote(num_cpus=0, lifetime="detached", get_if_exists=True)
        class Keeper:
            def note(self, text):
                with open(out, "a") as file:
                    print(text, file=file)
        for name in ("shared", f"own{number}"):
            Keeper.options(name=name).remote().note.remote(f"{name} {number}")
        print(json.dumps(1), flush=True)
        if ending == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        exec(ending)
    """
    out = tmp_path / "notes"
    tries = range(8)
    for number in tries:
        args = (session["session_dir"], str(number), str(out), ending)
        run(program, *args, code=-signal.SIGKILL if ending == "kill" else 0)
    sent = {f"{name} {k}" for k in tries for name in ("shared", f"own{k}")}
    wait_until(lambda: out.exists() and set(out.read_text().splitlines()) == sent)
    for name in ("shared", *(f"own{k}" for k in tries)):
        whipray.kill(whipray.get_actor(name))
    wait_until(lambda: all(row["job"] == session["slot"] for row in _core.procs()[1:]))
    wait_until_whole()


def test_a_driver_whose_job_can_have_no_workers_is_cut_off(session: dict[str, Any]) -> None:
    """What it submits after the end of its job would wait for ever, also in its very moment."""
    program = """
        import json, sys
        import whipray
        python, sys.executable = sys.executable, "/bin/false"
        address = "unix:" + sys.argv[1] + "/sock"
        whipray.init(address, log_to_driver=False)
        submit = whipray.remote(lambda: 1).options(max_retries=-1).remote
        seen = []
        def attempt():
            try:
                whipray.get([submit() for _ in range(20)])
            except whipray.exceptions.TaskCancelledError: # those from before the end
                return False
            except whipray.exceptions.RaySystemError as error:
                seen.append(str(error))
                return len(seen) == 3
        while not attempt():
            pass
        whipray.shutdown()
        sys.executable = python
        whipray.init(address, log_to_driver=False)
        seen.append(whipray.get(whipray.remote(lambda: 2).remote()))
        print(json.dumps(seen))
    """
    *errors, answer = run(program, session["session_dir"])
    assert answer == 2 and len(errors) == 3
    assert all("the process that starts workers ended (exit code 1)" in text for text in errors)
    assert whipray.get(whipray.remote(lambda: 3).remote()) == 3


def test_init_after_the_session_has_died(session: dict[str, Any]) -> None:
    lost = whipray.put(1)
    os.kill(session["daemon_pid"], signal.SIGKILL)
    with pytest.raises(whipray.exceptions.RaySystemError, match="the session has ended"):
        while True:
            whipray.get(whipray.remote(lambda: 1).remote(), timeout=120)
    whipray.init(num_cpus=1, log_to_driver=False)
    assert whipray.get(whipray.remote(lambda: 2).remote()) == 2
    with pytest.raises(whipray.exceptions.ObjectLostError):
        whipray.get(lost)


def test_more_workers_than_a_small_limit_of_descriptors_allows() -> None:
    """The daemon needs four for each; workers themselves keep the limit of the driver."""
    program = """
        import json, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, 4096))
        import whipray
        whipray.init(num_cpus=2, log_to_driver=False)
        @whipray.remote(num_cpus=0)
        class Member:
            def limit(self):
                return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        members = [Member.remote() for _ in range(60)]
        print(json.dumps(whipray.get([m.limit.remote() for m in members])))
    """
    assert run(program) == [160] * 60


def test_drivers_that_fill_a_session_get_their_turns(session: dict[str, Any]) -> None:
    """One keeps the session full of tasks until the other has got answers to all of its own."""
    program = """
        import json, sys, time
        import whipray
        whipray.init("unix:" + sys.argv[1] + "/sock", log_to_driver=False)
        nap = whipray.remote(lambda n: time.sleep(0.002) or n)
        print(json.dumps(whipray.get([nap.remote(n) for n in range(100)])))
    """
    nap = whipray.remote(lambda: time.sleep(0.002))
    over = threading.Event()

    def fill() -> None:
        refs = [nap.remote() for _ in range(500)]
        while not over.is_set():
            ready, refs = whipray.wait(refs, num_returns=50)
            refs += [nap.remote() for _ in ready]
        whipray.get(refs)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert run(program, session["session_dir"]) == list(range(100))
    finally:
        over.set()
        thread.join()


def test_named_actors_are_listed_until_their_job_ends(session: dict[str, Any]) -> None:
    program = """
        import json, sys
        import whipray
        from whipray.util import list_named_actors
        whipray.init("unix:" + sys.argv[1] + "/sock", namespace="second", log_to_driver=False)
        class Named:
            def value(self): return 1
        own = whipray.remote(num_cpus=0)(Named).options(name="own").remote()
        kept = whipray.remote(num_cpus=0)(Named).options(name="kept", lifetime="detached").remote()
        whipray.get([own.value.remote(), kept.value.remote()])
        everywhere = list_named_actors(all_namespaces=True)
        print(json.dumps([list_named_actors(), sorted(each["name"] for each in everywhere)]))
    """
    first = whipray.remote(num_cpus=0)(Echo).options(name="first").remote()
    whipray.get(first.__ray_ready__.remote())
    assert list_named_actors() == ["first"]
    here, everywhere = run(program, session["session_dir"])
    assert sorted(here) == ["kept", "own"] and everywhere == ["first", "kept", "own"]
    expected = [
        {"name": "first", "namespace": "first"},
        {"name": "kept", "namespace": "second"},
    ]

    def listed() -> list[Any]:
        return sorted(list_named_actors(all_namespaces=True), key=lambda each: each["name"])

    wait_until(lambda: listed() == expected)
    assert list_named_actors() == ["first"]
    kept = whipray.get_actor("kept", namespace="second")
    assert whipray.get(kept.value.remote()) == 1
    whipray.kill(kept)
    wait_until(lambda: listed() == expected[:1])


class Echo:
    def echo(self, value: Any) -> Any:
        return value
