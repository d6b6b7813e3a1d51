"""Finalizers that leave the session, or change what is read, while something is read.

Up to Python 3.11 garbage is collected where a list, tuple or dict is made, so also in the middle of
C code that makes one.  Each action here is done again and again, and the n-th collection since it
began runs a finalizer, until there are fewer than n.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMON = """
import gc
import sys
import whipray
from whipray import _core
from whipray.util import placement_group

ACTION = sys.argv[1]


class Finalizer:
    "At the n-th collection it runs the function, once."

    def __init__(self, n, function):
        self.n, self.function, self.itself = n, function, self
        Finalizer.waits = True

    def __del__(self):
        if not Finalizer.waits:
            return
        if self.n > 1:
            Finalizer(self.n - 1, self.function)
        else:
            gc.disable()
            Finalizer.waits = False
            self.function()


def at_collection(n, function, action, *args, objects=1):
    "Whether there were so many, each after more new objects than that, while the action ran."
    gc.collect()
    gc.disable()
    Finalizer(n, function)
    gc.set_threshold(objects)
    gc.enable()
    try:
        action(*args)
    except (whipray.exceptions.RayError, RuntimeError) as error:
        assert not Finalizer.waits, error
    finally:
        gc.disable()
        gc.set_threshold(700)
        there, Finalizer.waits = not Finalizer.waits, False
    return there
"""

LEAVING = """
AGAIN = sys.argv[2] == "again"


def leave():
    whipray.shutdown()
    if AGAIN:
        whipray.init(num_cpus=1)
        sys.others = [whipray.put(i) for i in range(100)]


@whipray.remote(num_cpus=0)
class Keeper:
    def __init__(self, value=None):
        pass

    def pid(self):
        return 1


@whipray.remote(num_cpus=0, num_returns=5)
def several():
    return range(5)


@whipray.remote(num_cpus=0, num_returns="streaming")
def items():
    yield 1


def prepare():
    "What there is to be read: everything that has rows."
    whipray.init(num_cpus=1, resources={"spare": 1}, ignore_reinit_error=True)
    keeper, group = Keeper.remote(), placement_group([{"spare": 1}], name="one")
    refs = [whipray.put(i) for i in range(20)]
    values = whipray.put([[[i], {i: (i,)}, (i, [i])] for i in range(3)])
    handles = whipray.put([keeper, [keeper]])
    sent = [task.remote() for task in (several, items) if ".remote()" in ACTION]
    return locals()


n = 1
while True:
    names = prepare()
    action = eval("lambda: " + ACTION, {**globals(), **names})
    if not at_collection(n, leave, action):
        break
    n += 1
    if AGAIN:
        assert whipray.get(sys.others) == list(range(100))
        assert _core.audit()["violations"] == 0
    whipray.shutdown()
whipray.shutdown()
print("done", flush=True)
"""

ACTIONS = [
    "_core.info()",
    "_core.procs()",
    "_core.actors()",
    "_core.actor_info(keeper._ref)",
    "[_core.task_rows(i) for i in range(3)]",
    "[_core.object_rows(i) for i in range(3)]",
    "_core.resources()",
    "_core.gpu_ids()",
    "_core.stats()",
    "_core.audit()",
    "_core.group(group.id.binary())",
    "_core.groups()",
    "_core.named_actors()",
    "_core.group_create([{'spare': 1.0, f'other{n}': 1.0}], 0, 0, 'two')",
    "whipray.get(values)",
    "whipray.get([values, values])",
    "whipray.get(handles)",
    "whipray.wait(refs, num_returns=3)",
    "several.remote()",
    "items.remote()",
    "Keeper.options(name='two').remote(value=[1])",
]


CHANGING = """
whipray.init(num_cpus=1)


class Again:
    "Takes from a set from which something is taken just now."

    def __init__(self, ready):
        self.ready = ready

    def clear(self):
        try:
            self.ready.take(3)
        except RuntimeError:
            pass


def change():
    for container in changed:
        container.clear()


hits = 0
for objects in range(1, 41):
    for n in range(1, 100):
        refs = [whipray.put(i) for i in range(20)]
        ready = _core.ReadySet(refs)
        inner = {i: {f"{n}, {i}"} for i in range(20)}
        nested = [({f"{n}, {i}"}, *range(30)) for i in range(20)]  # no tuples kept for reuse
        changed = [Again(ready)] if "ready" in ACTION else [refs, inner, nested]
        if not at_collection(n, change, *eval(ACTION), objects=objects):
            break
        hits += 1
assert hits or sys.version_info >= (3, 12)
whipray.shutdown()
print("done", flush=True)
"""


def run(program: str, *args: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", COMMON + program, *args],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("again", ["", "again"], ids=["shutdown", "another"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_finalizer_leaves_the_session_in_the_middle(action: str, again: str) -> None:
    run(LEAVING, action, again)


@pytest.mark.parametrize(
    "action",
    [
        "lambda: whipray.wait(refs, num_returns=3),",
        "_core.put, inner",
        "_core.put, nested",
        "_core.put, [inner, nested]",
        "lambda: all(map(repr, ready.take(10))),",
    ],
)
def test_a_finalizer_changes_what_is_read(action: str) -> None:
    run(CHANGING, action)
