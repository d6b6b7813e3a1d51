"""From nothing to a result: import, init, shutdown and a whole script, in fresh interpreters."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows.micro import numpy
from benchmarks.rows.registry import Figure, Section, Values
from benchmarks.timing import Bench

SECTION = Section("Start-up")

IMPORT = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""

LIFE = """
import json, time
import {module} as ray

@ray.remote
def noop():
    return b"ok"

times = [time.perf_counter()]
ray.init({options})
times.append(time.perf_counter())
ray.get(noop.remote())
times.append(time.perf_counter())
ray.shutdown()
times.append(time.perf_counter())
print(json.dumps([after - before for before, after in zip(times, times[1:])]))
"""

SCRIPT = """
{first}
import {module} as ray

@ray.remote
def noop():
    return b"ok"

ray.init({options})
assert ray.get(noop.remote()) == b"ok"
ray.shutdown()
"""


def run_script(text: str) -> tuple[float, str]:
    """Seconds from start to end of a new interpreter that runs the text, and its last line."""
    with tempfile.TemporaryDirectory(prefix="wrb-") as home:
        path = Path(home) / "script.py"
        path.write_text(text)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
        taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the script failed: {done.stderr.strip()[-2000:]}")
    lines = done.stdout.strip().splitlines()
    return taken, lines[-1] if lines else ""


def init_text(bench: Bench) -> str:
    """The arguments of init() as source text."""
    accepted = inspect.signature(bench.ray.init).parameters
    dashboard = ", include_dashboard=False" if "include_dashboard" in accepted else ""
    return f"num_cpus={bench.plan.num_cpus}{dashboard}"


@SECTION.row(
    "import",
    "import",
    "the import statement, in a new interpreter, files cached",
    Figure("p50", "ms", "lower"),
    session="none",
)
def import_time(bench: Bench) -> Values:
    text = IMPORT.format(module=bench.ray.__name__)
    run_script(text)
    return {"p50": [float(run_script(text)[1]) * 1e3 for _ in range(bench.repeats(15, 3))]}


@SECTION.row(
    "init-shutdown",
    "init, first task, shutdown",
    "each timed inside a new interpreter: init(), then get(noop.remote()), then shutdown()",
    Figure("init", "ms", "lower", "fork and exec"),
    Figure("first task", "ms", "lower", "fork"),
    Figure("shutdown", "ms", "lower"),
    session="none",
    timeout=300,
)
def init_shutdown(bench: Bench) -> Values:
    text = LIFE.format(module=bench.ray.__name__, options=init_text(bench))
    runs = [json.loads(run_script(text)[1]) for _ in range(bench.repeats(7, 2))]
    names = ("init", "first task", "shutdown")
    return {name: [run[at] * 1e3 for run in runs] for at, name in enumerate(names)}


def whole_script(bench: Bench, first: str) -> Values:
    text = SCRIPT.format(module=bench.ray.__name__, options=init_text(bench), first=first)
    return {"p50": [run_script(text)[0] * 1e3 for _ in range(bench.repeats(7, 2))]}


@SECTION.row(
    "script",
    "whole script, without NumPy",
    "a new interpreter runs: import, init, get(noop.remote()), shutdown; from start to end",
    Figure("p50", "ms", "lower", "python"),
    session="none",
    timeout=300,
)
def script(bench: Bench) -> Values:
    return whole_script(bench, "")


@SECTION.row(
    "script-numpy",
    "whole script, with NumPy",
    "the same script after import numpy",
    Figure("p50", "ms", "lower", "python with numpy"),
    session="none",
    timeout=300,
)
def script_numpy(bench: Bench) -> Values:
    numpy()
    return whole_script(bench, "import numpy")
