"""What is said about processes that wait for each other."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HEAD = """
    import sys
    import whipray as ray
    ray.init(num_cpus=2)

    @ray.remote
    class Peer:
        def meet(self, other):
            self.other = other
        def ask(self):
            return ray.get(self.other.answer.remote())
        def answer(self):
            return ray.get(self.other.ask.remote())
        def ask_itself(self, me):
            return ray.get(me[0].value.remote())
        def value(self):
            return 1
"""


def said(body: str, until: str) -> str:
    """Output of a driver up to the line that contains `until`; then its input ends."""
    program = textwrap.dedent(HEAD) + textwrap.dedent(body)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as driver:
        assert driver.stdout is not None and driver.stdin is not None
        found = ""
        for line in driver.stdout:
            found += line
            if until in line:
                break
        driver.stdin.close()
        found += driver.stdout.read()
    assert driver.returncode == 0, found
    return found


def test_actors_that_wait_for_each_other_are_named_once() -> None:
    text = said(
        """
        first, second = Peer.remote(), Peer.remote()
        ray.get([first.meet.remote(second), second.meet.remote(first)])
        ref = first.ask.remote()
        sys.stdin.read()
        """,
        "wait for each other",
    )
    assert text.count("wait for each other") == 1
    assert text.count("Peer (pid") == 3 and "which waits for" in text


def test_an_actor_that_waits_for_its_own_call() -> None:
    text = said(
        "peer = Peer.remote()\nref = peer.ask_itself.remote([peer])\nsys.stdin.read()",
        "wait for each other",
    )
    assert "waits for a call on itself" in text


def test_a_cycle_through_an_argument() -> None:
    text = said(
        """
        @ray.remote
        def passed_on(value):
            return value

        @ray.remote
        class Inner:
            def outer(self, peers):
                inner = passed_on.remote(peers[0].value.remote())
                return ray.get(inner)
            def value(self):
                return 1

        inner = Inner.remote()
        ref = inner.outer.remote([inner])
        sys.stdin.read()
        """,
        "wait for each other",
    )
    assert "Inner (pid" in text and "a call on itself" in text


def test_those_who_wait_for_one_that_works_are_left_alone() -> None:
    text = said(
        """
        import time

        @ray.remote
        def work():
            time.sleep(4)

        @ray.remote
        def wait():
            ray.get(work.remote())

        @ray.remote
        class Busy:
            def wait(self):
                ray.get(wait.remote())

        ray.get([Busy.remote().wait.remote(), wait.remote()])
        print("all done", flush=True)
        """,
        "all done",
    )
    assert "wait for each other" not in text
