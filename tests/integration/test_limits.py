"""Limits of the system that are too low: errors in the caller name the limit and its value."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def driver(body: str, limit: str, value: int) -> str:
    """What a program prints that runs under a limit of the module `resource`."""
    head = f"""
        import resource
        resource.setrlimit(resource.{limit}, ({value}, {value}))
        import whipray as ray
        """
    program = textwrap.dedent(head) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


INIT = """
try:
    ray.init(num_cpus=1)
except Exception as error:
    print(type(error).__name__, error)
"""
TASK = """
ray.init(num_cpus=1)
for _ in range(2):
    try:
        print(ray.get(ray.remote(lambda: 1).remote()))
    except ray.exceptions.RaySystemError as error:
        print(error)
ray.shutdown()
"""


def test_address_space() -> None:
    said = driver(INIT, "RLIMIT_AS", 1 << 30)
    assert said.startswith("MemoryError")
    assert f"RLIMIT_AS (ulimit -v, in bytes) {1 << 30}" in said


def test_descriptors_for_the_daemon() -> None:
    assert "RLIMIT_NOFILE (ulimit -n) 10" in driver(INIT, "RLIMIT_NOFILE", 10)


def test_descriptors_for_workers_end_the_session_with_the_reason() -> None:
    said = driver(TASK, "RLIMIT_NOFILE", 16).splitlines()
    assert len(said) == 2
    for line in said:  # the one that waited, the one that came afterwards
        assert "the session has ended" in line
        assert "Too many open files; limits: RLIMIT_NOFILE (ulimit -n) 16" in line


def test_sizes_of_files() -> None:
    assert "RLIMIT_FSIZE (ulimit -f, in bytes) 65536" in driver(INIT, "RLIMIT_FSIZE", 65536)


ENDLESS = """
@ray.remote(max_retries=0)
def endless():
    while True:
        pass

ray.init(num_cpus=1)
try:
    ray.get(endless.remote())
except ray.exceptions.WorkerCrashedError as error:
    print(error)
print(ray.get(ray.remote(lambda: "goes on").remote()))
ray.shutdown()
"""


def test_time_of_the_processor() -> None:
    said = driver(ENDLESS, "RLIMIT_CPU", 2)
    assert "RLIMIT_CPU (ulimit -t)" in said and "goes on" in said


MANY_DEMANDS = """
ray.init(num_cpus=4)
STEP = 1 << 10  # bytes of memory: a demand for each

@ray.remote
class Gate:
    async def open(self):
        self.event.set()
    async def wait(self):
        import asyncio
        self.event = self.event or asyncio.Event()
        await self.event.wait()
    def __init__(self):
        self.event = None

@ray.remote
def number(k, *others):
    return k

@ray.remote
class Other:
    def __init__(self):
        self.kept = number.options(memory=99 * STEP)
    def again(self, k):
        return ray.get(self.kept.remote(k))

other = Other.remote()
assert ray.get(other.again.remote(1)) == 1
gate = Gate.options(num_cpus=0).remote()
wait, refs = gate.wait.remote(), []
try:
    for k in range(5000):
        refs.append(number.options(memory=(100 + k) * STEP).remote(k, wait))
except ray.exceptions.RaySystemError as error:
    print(len(refs), error)
ray.get(gate.open.remote())
assert ray.get(refs) == list(range(len(refs)))
refs = [number.options(memory=(100 + k) * STEP).remote(k) for k in range(5000, 9500)]
assert ray.get(refs) == list(range(5000, 9500))
assert ray.get(other.again.remote(2)) == 2
made = [Gate.options(memory=k * STEP, num_cpus=0).remote() for k in range(3)]
opened = [(gate.wait.remote(), gate.open.remote()) for gate in made]
ray.get([ref for pair in opened for ref in pair])
print("all")
ray.shutdown()
"""


def test_different_demands_are_limited_while_they_are_in_use() -> None:
    said = driver(MANY_DEMANDS, "RLIMIT_CORE", 0)
    assert "4,031 in use at once" in said and said.endswith("all\n")
    assert 4020 < int(said.split()[0]) < 4031


MORE_ACTORS_THAN_DESCRIPTORS = """
@ray.remote(num_cpus=0)
class Actor:
    def answer(self):
        return 1

ray.init(num_cpus=1)
actors = [Actor.remote() for _ in range(30)]
left = {actor.answer.remote(): actor for actor in actors}
del actors
ready, late = ray.wait(list(left), num_returns=30, timeout=2)
print(bool(ready), bool(late))
while left:  # each that goes makes room
    for ref in ray.wait(list(left))[0]:
        ray.kill(left.pop(ref))
print("all")
ray.shutdown()
"""


def test_actors_wait_for_descriptors_while_others_live() -> None:
    assert driver(MORE_ACTORS_THAN_DESCRIPTORS, "RLIMIT_NOFILE", 80).split() == [
        "True",
        "True",
        "all",
    ]
