"""The C test harness reports what fails, and ends what hangs together with all it started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint.sources import ROOT

FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-g1", "-Itests/c", "-rdynamic"]
STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Werror"]

PASSING = """
static int looks;
static int third_look(void *arg) { (void)arg; return ++looks == 3; }
TEST(integers) {
  unsigned char small = 200;
  _Bool yes = 1;
  CHECK_EQ(1 + 1, 2u);
  CHECK_GT(small, -1);
  CHECK_LT(-1, UINT64_MAX);
  CHECK_NE((uint64_t)-1, -1);
  CHECK_GE(INT64_MAX, INT64_MIN);
  CHECK_LE(yes, 1);
}
TEST(text) { CHECK_STR("a", "a"); CHECK_MEM("ab", "ab", 3); }
TEST(waits) { check_until(third_look, NULL); CHECK_MSG(looks == 3, "%d", looks); }
static void child(void *arg) { CHECK(arg == NULL); }
TEST(children) { check_join(check_fork(child, NULL)); }
"""


def compile_program(directory: Path, body: str) -> Path:
    source, program = directory / "test_it.c", directory / "test_it"
    source.write_text(f'#include "check.h"\n#include <stdlib.h>\n#include <unistd.h>\n{body}')
    command = ["gcc", *FLAGS, *STRICT, str(source), "tests/c/check.c", "-lpthread"]
    subprocess.run([*command, "-o", str(program)], cwd=ROOT, check=True)
    return program


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def failing_output(directory: Path, statement: str, **environment: str) -> str:
    """The output of a program whose one test runs `statement` and must fail."""
    program = compile_program(directory, f"TEST(it) {{ {statement} }}\n")
    done = run(program, **environment)
    assert done.returncode == 1, done.stdout
    assert done.stdout.endswith("check: 0 passed, 1 failed\n")
    return done.stdout


def test_passing_program(tmp_path):
    done = run(compile_program(tmp_path, PASSING))
    assert (done.returncode, done.stdout) == (0, "check: 4 passed, 0 failed\n")


def test_tests_are_selected_by_name(tmp_path):
    program = compile_program(tmp_path, PASSING)
    assert run(program, "--list").stdout.split() == ["integers", "text", "waits", "children"]
    assert run(program, "text", "waits").stdout == "check: 2 passed, 0 failed\n"
    assert run(program, "unknown").returncode == 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CHECK(1 > 2);", "it: failed: 1 > 2"),
        ("CHECK_EQ(3, 4);", "it: failed: 3 == 4: 3 (0x3) and 4 (0x4)"),
        ("CHECK_LT(UINT64_MAX, -1);", "it: failed: UINT64_MAX < -1"),
        ('CHECK_STR("a", NULL);', 'failed: "a" == NULL: "a" and "(null)"'),
        ('CHECK_MEM("abc", "axc", 3);', "byte 1 of 3: 0x62 and 0x78"),
        ('CHECK_MSG(0, "n is %d", 7);', "it: failed: 0: n is 7"),
        ("abort();", "it: failed: killed by signal 6 (Aborted)"),
        ("exit(9);", "it: failed: exit code 9"),
    ],
)
def test_failure_is_reported(tmp_path, statement, message):
    output = failing_output(tmp_path, statement)
    assert message in output
    if statement.startswith("CHECK"):
        assert f"{tmp_path}/test_it.c:4: it: failed" in output


def test_other_tests_run_after_a_crash(tmp_path):
    body = "TEST(crash) { raise(11); }\nTEST(fine) { CHECK(1); }\n"
    done = run(compile_program(tmp_path, "#include <signal.h>\n" + body))
    assert done.returncode == 1
    assert done.stdout.endswith("check: 1 passed, 1 failed\n")


def test_failure_in_a_child_nobody_looks_at(tmp_path):
    body = """
#include <sys/wait.h>
TEST(it) {
  if (fork() == 0) CHECK(0);
  while (wait(NULL) > 0) {}
}
"""
    done = run(compile_program(tmp_path, body))
    assert done.returncode == 1
    assert "it: failed: a check failed in a process it started" in done.stdout


def test_watchdog_ends_a_hanging_test_and_dumps_it(tmp_path):
    body = """
static void dump(void *arg) { fprintf(stderr, "state is %s\\n", (const char *)arg); }
void stuck_here(void) { for (;;) pause(); }
TEST_LIMIT(it, 1) {
  pid_t child = fork();
  if (child == 0) stuck_here();
  printf("child %d\\n", (int)child);
  check_on_hang(dump, "sorry");
  CHECK(1);
  stuck_here();
}
"""
    program = compile_program(tmp_path, body)
    done = run(program)
    assert done.returncode == 1
    assert "it: failed: no end within 1 s" in done.stdout
    assert re.search(r"thread \d+, at or after the check at .*test_it\.c:12", done.stdout)
    assert done.stdout.count("stuck_here") == 2, "a stack of the test and one of its child"
    assert "state is sorry" in done.stdout
    child = re.search(r"child (\d+)", done.stdout)
    assert child and not alive(int(child.group(1)))


def test_what_a_test_leaves_behind_is_ended(tmp_path):
    body = """
TEST(it) {
  pid_t child = fork();
  if (child == 0) for (;;) pause();
  printf("child %d\\n", (int)child);
}
"""
    done = run(compile_program(tmp_path, body))
    child = re.search(r"child (\d+)", done.stdout)
    assert done.returncode == 0
    assert child and not alive(int(child.group(1)))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_runner_prints_a_line_per_program_and_names_stack_frames(tmp_path):
    body = "static void stuck(void) { for (;;) pause(); }\nTEST_LIMIT(it, 1) { stuck(); }\n"
    program = compile_program(tmp_path, body)
    runner = [sys.executable, str(ROOT / "tools/run_c_tests.py"), "plain", str(program)]
    done = subprocess.run(runner, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"^test_it +0 passed +1 failed .*FAILED", done.stdout, re.MULTILINE)
    assert re.search(r"stuck at .*test_it\.c:4", done.stdout), done.stdout
    assert done.stdout.endswith("C tests (plain): 0 passed, 1 failed in 1 programs\n")


def test_runner_fails_when_a_program_dies(tmp_path):
    program = tmp_path / "test_dies"
    program.write_text("#!/bin/sh\necho last words\nexit 3\n")
    program.chmod(0o755)
    runner = [sys.executable, str(ROOT / "tools/run_c_tests.py"), "plain", str(program)]
    done = subprocess.run(runner, capture_output=True, text=True)
    assert done.returncode == 1
    assert "last words" in done.stdout
    assert "FAILED (exit code 3)" in done.stdout
