"""Metrics of all processes as one text for Prometheus; the trace of what ran."""

from __future__ import annotations

import json
import os
import resource
import signal
import warnings

import pytest

import whipray as ray
from tests.compat.helpers import wait_until
from whipray.util import metrics


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.init(num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()


def lines(start):
    text = metrics.prometheus_text()
    return [line for line in text.splitlines() if line.startswith(start)]


class Recorder:
    def __init__(self):
        self.counter = metrics.Counter("sums", "adds up", tag_keys=("who",))
        self.gauge = metrics.Gauge("level")

    def record(self, who, level):
        self.counter.inc(2, {"who": who})
        self.gauge.set(level)
        return os.getpid()


def test_counters_of_all_processes_add_up():
    recorders = [ray.remote(Recorder).remote() for _ in range(2)]
    counter = metrics.Counter("sums", "adds up", tag_keys=("who",))
    counter.inc(1, {"who": "a"})
    pids = ray.get([r.record.remote("a", i) for i, r in enumerate(recorders)])
    wait_until(lambda: 'ray_sums_total{who="a"} 5.0' in lines("ray_sums"))
    assert "# TYPE ray_sums_total counter" in lines("#")
    assert "# HELP ray_sums_total adds up" in lines("#")
    wait_until(lambda: len(lines("ray_level{WorkerId=")) == 2)
    assert sorted(line.split()[-1] for line in lines("ray_level")) == ["0.0", "1.0"]
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: len(lines("ray_level")) == 1)
    assert lines("ray_sums") == ['ray_sums_total{who="a"} 5.0']


def test_what_was_recorded_last_is_not_lost_when_a_worker_ends():
    recorder = ray.remote(Recorder).remote()
    ray.get(recorder.record.remote("last", 1))
    recorder.__ray_terminate__.remote()
    wait_until(lambda: 'ray_sums_total{who="last"} 2.0' in lines("ray_sums"))


@ray.remote(max_retries=0)
def record_and_die(signal_number):
    counter = metrics.Counter("deaths", tag_keys=("n",))
    for n in range(700):  # more samples than fit into the first page
        counter.inc(n + 1, {"n": str(n)})
    metrics.Histogram("before_death", boundaries=[1.0]).observe(0.5)
    os.kill(os.getpid(), signal_number)


def test_what_was_recorded_last_is_not_lost_when_a_worker_is_killed():
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(record_and_die.remote(signal.SIGKILL))
    found = lines("ray_deaths_total")
    assert len(found) == 700
    assert 'ray_deaths_total{n="0"} 1.0' in found and 'ray_deaths_total{n="699"} 700.0' in found
    assert "ray_before_death_count 1.0" in lines("ray_before_death")


@ray.remote(max_calls=1)
def record_with_small_files(most):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    counter = metrics.Counter(f"limited_{most}", tag_keys=("n",))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for n in range(700):
            counter.inc(n + 1, {"n": str(n)})
    return [str(warning.message) for warning in told]


@pytest.mark.parametrize("most", [1000, 10_000])
def test_a_full_disk_is_warned_of_once_and_ends_nothing(most):
    """It holds no page of numbers, or some names with a part of another behind them."""
    [told] = ray.get(record_with_small_files.remote(most))
    assert "not kept" in told
    found = [line for line in lines(f"ray_limited_{most}") if "_total" in line]
    assert len(found) < 700
    numbers = [(int(line.split('"')[1]), float(line.split()[-1])) for line in found]
    assert all(value == n + 1 for n, value in numbers)


def test_no_file_is_open_after_the_session():
    metrics.Counter("opened").inc()
    ray.shutdown()
    opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert not [path for path in opened if "/metrics/" in path]
    ray.init(num_cpus=2, log_to_driver=False)


def test_histograms():
    histogram = metrics.Histogram("sizes", "how large", boundaries=[1, 10.0], tag_keys=("k",))
    for value in (0.5, 1, 5, 50):
        histogram.observe(value, {"k": 'a"b'})
    assert lines("ray_sizes") == [
        'ray_sizes_bucket{k="a\\"b",le="1.0"} 2.0',
        'ray_sizes_bucket{k="a\\"b",le="10.0"} 3.0',
        'ray_sizes_bucket{k="a\\"b",le="+Inf"} 4.0',
        'ray_sizes_count{k="a\\"b"} 4.0',
        'ray_sizes_sum{k="a\\"b"} 56.5',
    ]


def test_invalid_names_are_not_shown():
    with pytest.warns(UserWarning):
        metrics.Counter("not-valid").inc()
    assert lines("ray_not") == []


def test_a_new_session_starts_at_zero():
    metrics.Counter("fresh").inc()
    assert lines("ray_fresh") == ["ray_fresh_total 1.0"]
    ray.shutdown()
    ray.init(num_cpus=2, log_to_driver=False)
    assert metrics.prometheus_text() == ""


def test_no_session():
    ray.shutdown()
    with pytest.raises(ray.exceptions.RaySystemError, match="needs a session"):
        metrics.prometheus_text()
    with pytest.raises(ray.exceptions.RaySystemError, match="needs a session"):
        ray.timeline()
    ray.init(num_cpus=2, log_to_driver=False)


# ---- the timeline --------------------------------------------------------------------------------


@pytest.fixture
def profiled(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_PROFILING", "1")
    ray.init(num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()
    monkeypatch.delenv("RAY_PROFILING")
    ray.init(num_cpus=2, log_to_driver=False)


class Actor:
    def method(self):
        return 1


class AsyncActor:
    async def method(self):
        return 2


def test_timeline(profiled, tmp_path):
    @ray.remote
    def task(x):
        return x

    @ray.remote
    def fail():
        raise ValueError

    actors = [ray.remote(Actor).remote(), ray.remote(AsyncActor).remote()]
    assert ray.get([actor.method.remote() for actor in actors]) == [1, 2]
    assert ray.get([task.remote(1), task.options(name="named").remote(2)]) == [1, 2]
    with pytest.raises(ValueError):
        ray.get(fail.remote())
    wanted = {"task", "named", "fail", "Actor.method", "AsyncActor.method"}
    wait_until(lambda: wanted <= {event["name"] for event in ray.timeline()})
    path = tmp_path / "trace.json"
    assert ray.timeline(str(path)) is None
    events = [event for event in json.loads(path.read_text()) if event["ph"] == "X"]
    assert {event["name"] for event in events} == wanted
    assert all(event["dur"] >= 0 and event["ts"] > 1.7e15 for event in events)
    assert all(event["tid"].startswith("worker:") for event in events)


def test_without_profiling_nothing_is_recorded():
    ray.get(ray.remote(lambda: 1).remote())
    with pytest.warns(UserWarning, match="RAY_PROFILING"):
        events = ray.timeline()
    assert [event for event in events if event["ph"] == "X"] == []


def test_recording_without_a_session_starts_none():
    ray.shutdown()
    metrics.Counter("counted_by_nobody").inc()
    assert not ray.is_initialized()
