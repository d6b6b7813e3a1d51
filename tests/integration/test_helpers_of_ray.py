"""What Ray's test suite imports from `ray` itself: helpers and fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

BASIC = """
    import asyncio
    import os
    import subprocess
    import sys

    import pytest
    import ray
    from ray._common.test_utils import (
        FakeTimer, Semaphore, SignalActor, async_wait_for_condition, run_string_as_driver,
        run_string_as_driver_stdout_stderr, wait_for_condition,
    )
    from ray._private.test_utils import *
    from ray.tests.conftest import *

    def test_signal(ray_start_2_cpus):
        signal = SignalActor.remote()

        @ray.remote
        def waits(signal):
            ray.get(signal.wait.remote())
            return 1

        refs = [waits.remote(signal) for _ in range(3)]
        wait_for_condition(lambda: ray.get(signal.cur_num_waiters.remote()) == 3, timeout=60)
        ray.get(signal.send.remote())
        assert ray.get(refs) == [1, 1, 1]

    def test_semaphore(ray_start_regular):
        semaphore = Semaphore.remote(value=1)
        ray.get(semaphore.acquire.remote())
        assert ray.get(semaphore.locked.remote())
        second = semaphore.acquire.remote()
        ray.get(semaphore.release.remote())
        ray.get(second)

    def test_workers_killed_while_tasks_run(ray_start_2_cpus):
        @ray.remote(max_retries=-1)
        def square(x):
            import time
            time.sleep(0.05)
            return x * x

        killer = get_and_run_resource_killer(
            WorkerKillerActor, 0.02, max_to_kill=3,
            kill_filter_fn=lambda: lambda task: task.name == "square")
        killed = killer.get_killed_nodes.remote()
        done = 0
        while not ray.wait([killed], timeout=0)[0]:
            refs = [square.remote(x) for x in range(20)]
            assert ray.get(refs) == [x * x for x in range(20)]
            done += 1
        assert done > 0 and len(ray.get(killed)) == 3
        assert not ray.get(killer.stop_run.remote())

    def test_conditions():
        seen = []
        wait_for_condition(lambda upto: seen.append(1) or len(seen) == upto, upto=3)
        with pytest.raises(RuntimeError, match="(?s)condition wasn't met.*ZeroDivisionError"):
            wait_for_condition(lambda: 1 / 0, timeout=0.01, retry_interval_ms=1)
        with pytest.raises(ZeroDivisionError):
            wait_for_condition(lambda: 1 / 0, raise_exceptions=True)

        async def condition():
            return True

        asyncio.run(async_wait_for_condition(condition))
        with pytest.raises(RuntimeError):
            asyncio.run(async_wait_for_condition(lambda: False, timeout=0.01))
        with pytest.raises(AssertionError):
            def never():
                assert False
            wait_for_assertion(never, timeout=0.01)
        assert wait_until_succeeded_without_exception(lambda: 1, (ValueError,))
        assert not wait_until_succeeded_without_exception(
            lambda: 1 / 0, (ZeroDivisionError,), timeout_ms=5, retry_interval_ms=1)
        timer = FakeTimer(5.0)
        timer.advance(2)
        assert timer.time() == 7.0

    def test_drivers():
        program = "import sys; print('out'); print('err', file=sys.stderr)"
        assert set(run_string_as_driver(program).split()) == {"out", "err"}
        assert run_string_as_driver_stdout_stderr(program) == ("out\\n", "err\\n")
        with pytest.raises(subprocess.CalledProcessError):
            run_string_as_driver("import sys; sys.exit(3)")
        started = run_string_as_driver_nonblocking(program)
        assert started.communicate()[0] == b"out\\n"
        wait_for_pid_to_exit(started.pid)
        assert check_call_subprocess(["echo", "x"], capture_stdout=True) == b"x\\n"
        sleeps = "import subprocess; subprocess.run(['sleep', '600'])"
        parent = run_string_as_driver_nonblocking(sleeps)
        wait_for_children_of_pid(parent.pid, timeout=60)
        with pytest.raises(TimeoutError):
            wait_for_children_of_pid_to_exit(parent.pid, timeout=0.05)
        with open(f"/proc/{parent.pid}/task/{parent.pid}/children") as file:
            os.kill(int(file.read()), 9)
        parent.communicate()

    @pytest.mark.parametrize("ray_start_regular", [{"num_cpus": 3}], indirect=True)
    def test_actors_and_groups(ray_start_regular):
        assert ray.cluster_resources()["CPU"] == 3

        @ray.remote
        class Actor:
            def ping(self):
                return 1

        actor = Actor.remote()
        ray.get(actor.ping.remote())
        wait_for_num_actors(1, "ALIVE", timeout=60)
        kill_actor_and_wait_for_failure(actor, timeout=60)
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.ping.remote())
        group = ray.util.placement_group([{"CPU": 2}])
        assert group.wait(60)
        placement_group_assert_no_leak([group])
        assert ray.get([put_object(3, True), put_object(4, False)]) == [3, 4]

    def test_batches(ray_start_regular):
        queue = BatchQueue()
        for i in range(5):
            queue.put(i)
        assert queue.get_batch(batch_size=2) == [0, 1]
        assert queue.get_batch() == [2, 3, 4]
        with pytest.raises(ray.util.queue.Empty):
            queue.get_batch(first_timeout=0.01)

    def test_the_rest(shutdown_only, tmp_working_dir):
        assert not ray.is_initialized()
        ray.init(num_cpus=1, **generate_system_config_map(some_thing=1))
        assert same_elements([1, {}], [{}, 1]) and not same_elements([1], [2])
        assert len(recursive_fnmatch(tmp_working_dir, "*.py")) == 1
        assert not wait_until_server_available(
            f"127.0.0.1:{get_current_unused_port()}", timeout_ms=5, retry_interval_ms=1)

    def test_several_nodes(ray_start_cluster):
        assert False
"""


def test_helpers_and_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_basic.py").write_text(textwrap.dedent(BASIC))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHIPRAY_")}
    start = (
        "import sys, pytest, whipray.compat as c; c.install(); sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**inherited, "WHIPRAY_RAY_LIBS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "8 passed, 1 skipped" in done.stdout
