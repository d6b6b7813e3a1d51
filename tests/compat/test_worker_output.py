"""What workers print arrives on the driver, with a prefix that says from whom."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

Run = Callable[..., str]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def plain(output: str) -> list[str]:
    return ANSI.sub("", output).splitlines()


def prefixed(name: str, text: str) -> Callable[[str], bool]:
    """A check that the output holds the line `text` of the worker `name`."""
    pattern = re.compile(rf"^\({re.escape(name)} pid=\d+\) {re.escape(text)}$")
    return lambda output: any(pattern.match(line) for line in plain(output))


def mentions(text: str, count: int) -> Callable[[str], bool]:
    return lambda output: sum(text in line for line in plain(output)) >= count


def test_print_of_a_task_has_name_and_pid(listen: Run) -> None:
    listen(
        """
        ray.init(**INIT)
        @ray.remote
        def shout():
            print("hello from a task")
        ray.get(shout.remote())
        """,
        prefixed("shout", "hello from a task"),
    )


def test_print_of_an_actor_has_the_class_name(listen: Run) -> None:
    listen(
        """
        ray.init(**INIT)
        @ray.remote
        class Speaker:
            def speak(self):
                print("hello from an actor")
        speaker = Speaker.remote()
        ray.get(speaker.speak.remote())
        """,
        prefixed("Speaker", "hello from an actor"),
    )


def test_print_of_an_actor_uses_its_own_repr(listen: Run) -> None:
    listen(
        """
        ray.init(**INIT)
        @ray.remote
        class Speaker:
            def __repr__(self):
                return "Speaker(7)"
            def speak(self):
                print("who speaks")
        speaker = Speaker.remote()
        ray.get(speaker.speak.remote())
        """,
        prefixed("Speaker(7)", "who speaks"),
    )


def test_stderr_arrives_too(listen: Run) -> None:
    listen(
        """
        import sys
        ray.init(**INIT)
        @ray.remote
        def complain():
            print("on stderr", file=sys.stderr)
        ray.get(complain.remote())
        """,
        prefixed("complain", "on stderr"),
    )


def test_each_line_has_its_prefix(listen: Run) -> None:
    def enough(output: str) -> bool:
        texts = ("first line", "second line", "größe ✓")
        return all(prefixed("lines", text)(output) for text in texts)

    listen(
        """
        ray.init(**INIT)
        @ray.remote
        def lines():
            print("first line\\nsecond line")
            print("größe ✓")
        ray.get(lines.remote())
        """,
        enough,
        PYTHONUTF8="1",
    )


def test_output_below_python_arrives(listen: Run) -> None:
    listen(
        """
        import os
        ray.init(**INIT)
        @ray.remote
        def raw():
            os.write(1, b"written below python\\n")
        ray.get(raw.remote())
        """,
        prefixed("raw", "written below python"),
    )


def test_output_of_a_running_task_arrives_before_its_end(listen: Run) -> None:
    listen(
        """
        import time
        ray.init(**INIT)
        @ray.remote
        def endless():
            print("still running", flush=True)
            while True:
                time.sleep(0.1)
        ref = endless.remote()
        """,
        prefixed("endless", "still running"),
    )


def test_equal_lines_of_several_workers_are_folded(listen: Run) -> None:
    folded = re.compile(r"the same line \[repeated \d+x across cluster\]")
    listen(
        """
        import time
        ray.init(**INIT)
        @ray.remote(num_cpus=0)
        class Speaker:
            def speak(self):
                while True:
                    print("the same line", flush=True)
                    time.sleep(0.2)
        speakers = [Speaker.remote() for _ in range(3)]
        refs = [s.speak.remote() for s in speakers]
        """,
        lambda output: any(folded.search(line) for line in plain(output)),
    )


def test_folding_can_be_switched_off(listen: Run) -> None:
    output = listen(
        """
        ray.init(**INIT)
        @ray.remote(num_cpus=0)
        class Speaker:
            def speak(self):
                print("the same line")
        speakers = [Speaker.remote() for _ in range(3)]
        ray.get([s.speak.remote() for s in speakers])
        """,
        mentions("the same line", 3),
        RAY_DEDUP_LOGS="0",
    )
    assert "repeated" not in output


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_forwarding_can_be_switched_off(listen: Run, how: str) -> None:
    argument = ", log_to_driver=False" if how == "argument" else ""
    environment = {"RAY_LOG_TO_DRIVER": "0"} if how == "environment" else {}
    output = listen(
        f"""
        ray.init(**INIT{argument})
        task = ray.remote(lambda i: print("should not be seen", i))
        for i in range(20):
            ray.get(task.remote(i))
        print("driver prints")
        """,
        mentions("driver prints", 1),
        **environment,
    )
    assert "should not be seen" not in output


def test_prints_of_the_driver_have_no_prefix(run_script: Run) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        print("plain line")
        ray.shutdown()
        print("after the end")
        """
    )
    assert "plain line" in plain(output)
    assert "after the end" in plain(output)


@pytest.mark.ray_differs("there both are one line")
def test_unfinished_line_does_not_swallow_the_line_of_the_next_task(listen: Run) -> None:
    output = listen(
        """
        ray.init(**{**INIT, "num_cpus": 1})
        @ray.remote
        def unfinished():
            print("no newline", end="")
        @ray.remote
        def whole():
            print("whole line")
        ray.get(unfinished.remote())
        ray.get(whole.remote())
        """,
        prefixed("whole", "whole line"),
    )
    assert prefixed("unfinished", "no newline")(output)


FORGOTTEN = """
    import os, time
    DROPPED = __file__ + ".dropped"

    def wait():
        while not os.path.exists(DROPPED):
            time.sleep(0.01)

    @ray.remote
    def forgotten():
        wait()
        raise ValueError("nobody looks")

    @ray.remote
    class Actor:
        def forgotten(self):
            wait()
            raise KeyError("nobody either")

        def flush(self):
            return 1

    @ray.remote
    def fetched():
        raise ValueError("seen")

    ray.init(**{**INIT, "num_cpus": 1})
    try:
        ray.get(fetched.remote())
    except ValueError:
        pass
    forgotten.remote()
    actor = Actor.options(num_cpus=0).remote()
    actor.forgotten.remote()
    open(DROPPED, "w").close()
    ray.get([actor.flush.remote(), ray.remote(lambda: print("all done")).remote()])
"""
UNHANDLED = "Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): ray::"


def test_an_error_that_nobody_can_fetch_is_logged(listen: Run) -> None:
    lines = plain(listen(FORGOTTEN, mentions(UNHANDLED, 2)))
    assert any(f"{UNHANDLED}forgotten()" in line for line in lines)
    assert any(f"{UNHANDLED}Actor.forgotten()" in line for line in lines)
    assert any(line.endswith("ValueError: nobody looks") for line in lines)
    assert not any("seen" in line for line in lines)


def test_errors_that_nobody_can_fetch_are_not_logged_on_request(listen: Run) -> None:
    output = listen(FORGOTTEN, lambda output: "all done" in output, RAY_IGNORE_UNHANDLED_ERRORS="1")
    assert "Unhandled" not in output


def test_what_was_printed_last_arrives_before_the_driver_ends(run_script: Run) -> None:
    output = run_script(
        """
        ray.init(**INIT)
        @ray.remote
        def talk():
            for k in range(50):
                print(f"line {k}")
            print("the end", end="")
        ray.get(talk.remote())
        """,
        RAY_DEDUP_LOGS="0",
    )
    assert all(prefixed("talk", f"line {k}")(output) for k in range(50))
    assert prefixed("talk", "the end")(output)
