"""What is said about the usual mistakes where a session runs."""

from __future__ import annotations

import inspect
import linecache
import os
import subprocess
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray import _core
from whipray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@whipray.remote
def fail() -> None:
    raise ValueError("on purpose")


@whipray.remote
class Shelf:
    def get(self, key: str, default: int = 3) -> int:
        return default


class Plain:
    pass


class Counter:
    def __init__(self, start, *, step=1):
        self.n = start


@whipray.remote
def scale(x, by=2.0):
    return x * by


SCALE = f"{__name__}.scale(x, by=2.0)"
SHELF = "Shelf.get(key, default=...)"


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    whipray.init(num_cpus=2)
    yield
    whipray.shutdown()


@pytest.mark.parametrize("many", [False, True])
def test_the_traceback_of_a_task_ends_at_the_line_that_asked(many: bool) -> None:
    ref = fail.remote()
    with pytest.raises(ValueError, match="on purpose") as caught:
        whipray.get([ref] if many else ref)
    assert traceback.extract_tb(caught.tb)[-1].filename == __file__


@pytest.mark.parametrize(
    ("call", "text", "signature"),
    [
        (lambda: scale.remote(), "missing a required argument: 'x'", SCALE),
        (lambda: scale.options(num_cpus=0).remote(1, 2, 3), "too many", SCALE),
        (
            lambda: whipray.remote(Counter).remote(),
            "missing a required",
            "Counter.remote(start, *, step=1)",
        ),
        (lambda: whipray.remote(Plain).remote(1), "too many positional", "Plain.remote()"),
        (lambda: Shelf.remote().get.remote(), "missing a required argument: 'key'", SHELF),
        (lambda: whipray.remote(Plain).remote(a=1), "unexpected keyword", "Plain.remote()"),
    ],
)
def test_wrong_arguments_are_told_with_the_signature(
    call: Callable[[], Any], text: str, signature: str
) -> None:
    with pytest.raises(TypeError, match=text) as caught:
        call()
    assert caught.value.__notes__ == [f"The signature is {signature}"]
    files = {os.path.basename(frame.filename) for frame in traceback.extract_tb(caught.tb)}
    assert "inspect.py" not in files


@pytest.mark.parametrize("option", ["name", "namespace"])
def test_a_name_with_a_null_character_names_no_other_actor(option: str) -> None:
    names = {"name": "shelf", "namespace": "house"}
    names[option] += "\0er"
    with pytest.raises(ValueError, match="null characters"):
        Shelf.options(**names).remote()
    with pytest.raises(ValueError, match="Failed to look up actor"):
        whipray.get_actor("shelf", "house")


NULLS: dict[str, Callable[[], Any]] = {
    "get_actor": lambda: whipray.get_actor("shelf\0er"),
    "namespace": lambda: whipray.get_actor("shelf", "house\0boat"),
    "resource of a task": lambda: scale.options(resources={"a\0b": 1}).remote(1),
    "resource of an actor": lambda: Shelf.options(resources={"a\0b": 1}).remote(),
    "bundle": lambda: whipray.util.placement_group([{"CPU": 1}, {"a\0b": 1}]),
    "group": lambda: whipray.util.placement_group([{"CPU": 1}], name="a\0b"),
    "get_placement_group": lambda: whipray.util.get_placement_group("a\0b"),
}


@pytest.mark.parametrize("case", NULLS)
def test_null_characters_in_names_are_refused(case: str) -> None:
    before = whipray.util.placement_group_table()
    with pytest.raises(ValueError, match="must not contain null characters"):
        NULLS[case]()
    assert whipray.util.placement_group_table() == before
    assert "a" not in whipray.cluster_resources()


@pytest.mark.parametrize("name", ["", "a" * 112, "é" * 56])
def test_names_of_resources_that_can_not_be(name: str) -> None:
    for call in (
        lambda: scale.options(resources={name: 1}),
        lambda: whipray.util.placement_group([{name: 1}]),
    ):
        with pytest.raises(ValueError, match="the name of a resource"):
            call()


class Coded(Exception):
    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{code}: {what}")


def test_an_exception_that_is_not_rebuilt_says_why() -> None:
    @whipray.remote(max_retries=0)
    def fail() -> None:
        raise Coded(3, "on purpose")

    with pytest.raises(whipray.exceptions.RayTaskError) as caught:
        whipray.get(fail.remote())
    text = str(caught.value)
    assert "Coded: 3: on purpose\n(Coded is not rebuilt where it is caught: " in text
    assert "missing 1 required positional argument: 'what'" in text
    assert "super().__init__()" in text


def test_a_task_that_changes_an_array_is_told_to_copy_it() -> None:
    numpy = pytest.importorskip("numpy")

    @whipray.remote(max_retries=0)
    def change(array: Any) -> None:
        array[0] = 1

    with pytest.raises(ValueError, match="read-only") as caught:
        whipray.get(change.remote(numpy.zeros(100_000)))
    assert "array.copy()" in str(caught.value)


NO_REFS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: scale, ValueError, r"has not been called: `\.remote\(\.\.\.\)` gives an ObjectRef"),
    (lambda: Shelf.remote().get, ValueError, "has not been called"),
    (lambda: scale.remote, ValueError, r"`\.remote` has not been called"),
    (lambda: [Shelf.remote().get.remote], TypeError, r"`\.remote` has not been called"),
    (lambda: whipray.wait([scale.remote(1)]), ValueError, "ready, rest = wait"),
    (lambda: Shelf, ValueError, "is a class"),
    (lambda: Shelf.remote(), ValueError, "call a method of it"),
    (lambda: (scale.remote(1),), ValueError, r"make a list of it: get\(list\(\.\.\.\)\)"),
    (lambda: (scale.remote(i) for i in range(2)), ValueError, "make a list of it"),
    (lambda: {"a": scale.remote(1)}, ValueError, r"get\(list\(\.\.\.values\(\)\)\)"),
    (lambda: [[scale.remote(1)]], TypeError, "get each of the inner lists"),
    (lambda: [scale.remote(1), scale], TypeError, "has not been called"),
]


@pytest.mark.parametrize(("given", "kind", "text"), NO_REFS)
def test_get_of_what_is_no_reference_says_what_to_do(
    given: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        whipray.get(given())


@whipray.remote(max_retries=0)
def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_task_that_interrupts_itself_says_where() -> None:
    with pytest.raises(whipray.exceptions.TaskCancelledError, match="raise KeyboardInterrupt"):
        whipray.get(interrupt.remote())


@whipray.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


def test_a_generator_that_is_passed_on_says_what_to_pass() -> None:
    for use in (scale.remote, whipray.put, Shelf.remote().get.remote):
        with pytest.raises(TypeError, match=r"Pass the references that it yields, list\(gen"):
            use(count.remote(2))
    total = whipray.remote(lambda refs: sum(whipray.get(refs)))
    assert whipray.get(total.remote(list(count.remote(4)))) == 6


def test_an_index_of_no_bundle_is_told_which_there_are() -> None:
    group = whipray.util.placement_group([{"CPU": 0.1}, {"CPU": 0.1}])

    def task(bundle: int) -> Any:
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
        return scale.options(num_cpus=0.1, scheduling_strategy=place)

    assert whipray.get([task(0).remote(1), task(1).remote(1)]) == [2, 2]
    with pytest.raises(ValueError, match=r"index 2 is invalid.*indexes: 0-1$"):
        task(2).remote(1)
    whipray.util.remove_placement_group(group)


def test_a_handle_says_that_it_has_methods_only() -> None:
    shelf = Shelf.remote()
    with pytest.raises(
        AttributeError, match=r"'ActorHandle' object has no attribute 'n'\n.*methods"
    ) as caught:
        shelf.n  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("n", shelf)
    assert not hasattr(shelf, "__len__") and "get" in dir(shelf)


def test_methods_show_their_names_and_parameters() -> None:
    get = Shelf.remote().get
    assert get.__name__ == "get"
    assert str(inspect.signature(get)) == "(key, default=...)"
    assert str(inspect.signature(get.remote)) == "(*args, **kwargs)"
    assert str(inspect.signature(whipray.remote(Counter))) == "(start, *, step=1)"
    for name in ("mro", "__bases__", "__dict__", "nothing"):  # of the class behind it
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(get, name)


CELL = """
def broken():
    table = {}
    return table["key"]  # in a function

class Broken:
    def ask(self):
        return {}["key"]  # in a method
"""


def test_tracebacks_of_what_a_cell_defines_show_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook has the text of its cells in memory only."""
    name = str(tmp_path / "no_such_file.py")
    monkeypatch.setitem(linecache.cache, name, (len(CELL), None, CELL.splitlines(True), name))
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(CELL, name, "exec"), cell)
    with pytest.raises(KeyError) as caught:
        whipray.get(whipray.remote(cell["broken"]).remote())
    assert 'return table["key"]  # in a function' in str(caught.value)
    broken = whipray.remote(cell["Broken"]).remote()
    with pytest.raises(KeyError) as caught:
        whipray.get(broken.ask.remote())
    assert 'return {}["key"]  # in a method' in str(caught.value)


def test_a_function_that_a_worker_can_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def absent(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(RuntimeError, match=r"remote function only_here[.]absent failed to"):
        whipray.get(whipray.remote(module.absent).remote())


def test_methods_and_placement_groups_are_shown_by_name() -> None:
    shelf = Shelf.remote()  # type: ignore[attr-defined]
    assert repr(shelf.get) == "ActorMethod(Shelf.get)"
    group = whipray.util.placement_group([{"CPU": 1}])
    assert repr(group) == f"PlacementGroup({group.id.hex()}, bundles=[{{'CPU': 1.0}}])"
    whipray.util.remove_placement_group(group)


@whipray.remote
def orphan_that_attaches(daemon: int, segment: str) -> str:
    """What a worker says that finds its fork server dead, as when the session ends just then."""
    program = f"""
        import os, time
        if os.fork():
            os._exit(0)
        while os.getppid() != {daemon}:
            time.sleep(0.001)
        from whipray._private import fork_server
        fork_server.SEGMENT_FD = os.open({segment!r}, os.O_RDWR)
        print("found", flush=True)
        fork_server._attach(4000, 77, os.dup(0))
        print("attached")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def test_a_worker_that_is_made_while_its_session_ends_gives_up_without_a_word() -> None:
    daemon = _core.info()["daemon_pid"]
    open_files = (f"/proc/{daemon}/fd/{fd}" for fd in os.listdir(f"/proc/{daemon}/fd"))
    segment = next(path for path in open_files if os.readlink(path).startswith("/memfd:whipray"))
    assert whipray.get(orphan_that_attaches.remote(daemon, segment)) == "found\n"


def _run(body: str) -> str:
    head = """
        import asyncio
        import whipray as ray
        ray.init(num_cpus=2)

        @ray.remote
        class Gate:
            def __init__(self):
                self.open = asyncio.Event()
            async def wait(self):
                await self.open.wait()
            async def let(self):
                self.open.set()

        @ray.remote
        class Asker:
            async def blocks(self, gate, refs):
                gate.let.remote()
                return ray.get(refs)
            async def awaits(self, gate, refs):
                gate.let.remote()
                return await asyncio.gather(*refs)
            async def in_thread(self, gate, refs):
                gate.let.remote()
                return await asyncio.to_thread(ray.get, refs)

        asker = Asker.remote()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(("method", "told"), [("blocks", 1), ("awaits", 0), ("in_thread", 0)])
def test_who_blocks_the_loop_of_an_async_actor_is_told_once(method: str, told: int) -> None:
    text = _run(f"""
        for _ in range(2):
            gate = Gate.remote()
            ray.get(asker.{method}.remote(gate, [gate.wait.remote()]))
    """)
    assert text.count("block the event loop of an async actor") == told, text


AT_EXIT = """
import threading
import whipray as ray

ray.init(num_cpus=2)

@ray.remote(num_cpus=0)
class Progress:
    def get(self):
        return 1

@ray.remote
def never():
    threading.Event().wait()

progress, refs = Progress.remote(), [never.remote()]
uses = [
    lambda: ray.get(refs),
    lambda: ray.wait(refs),
    lambda: ray.get(progress.get.remote()),
    lambda: ray.get(ray.put(1)),
    lambda: ray.cluster_resources(),
    lambda: ray.get(Progress.remote().get.remote()),
]
under_way = threading.Barrier(len(uses) + 1)

def use(action):
    under_way.wait()
    while True:
        action()

for action in uses:
    threading.Thread(target=use, args=[action], daemon=True).start()
under_way.wait()
"""


def test_daemon_threads_say_nothing_when_the_program_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_second_init_is_told_where_the_first_was() -> None:
    driver = """
        import whipray as ray
        ray.put(1)
        try:
            ray.init()
        except RuntimeError as error:
            print(*error.__notes__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(driver)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("The open session was started at <string>:3,")


@whipray.remote
def init_again() -> None:
    whipray.init()


def test_init_in_a_task_is_told_that_it_needs_none() -> None:
    with pytest.raises(RuntimeError, match="A worker is in the session of its job"):
        whipray.get(init_again.remote())
