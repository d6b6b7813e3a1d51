"""The build recompiles what changed and says plainly what it misses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.lint.sources import ROOT

SOURCES = {
    "csrc/base/sum.h": "int wr_sum(int a, int b);\n",
    "csrc/base/sum.c": '#include "base/sum.h"\nint wr_sum(int a, int b) { return a + b; }\n',
    "csrc/client/twice.h": "int wr_twice(int a);\n",
    "csrc/client/twice.c": '#include "client/twice.h"\n#include "base/sum.h"\n'
    "int wr_twice(int a) { return wr_sum(a, a); }\n",
    "csrc/node/main.c": '#include "base/sum.h"\nint main(void) { return wr_sum(3, 4); }\n',
    "csrc/pyext/module.c": '#include <Python.h>\n#include "client/twice.h"\n'
    "static PyObject *twice(PyObject *m, PyObject *a) {\n"
    "  (void)m;\n  return PyLong_FromLong(wr_twice((int)PyLong_AsLong(a)));\n}\n"
    'static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {0}};\n'
    'static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "_core",\n'
    "                                 .m_methods = methods};\n"
    "PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&def); }\n",
    "tests/c/test_sum.c": '#include "check.h"\n#include "base/sum.h"\n'
    "TEST(sum) { CHECK_EQ(wr_sum(1, 2), 3); }\n",
}


@pytest.fixture
def tree(tmp_path):
    """A small project with the build rules of this one."""
    for name in ("Makefile", "tools", "tests/c/check.c", "tests/c/check.h"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def make(tree, *arguments, check=True, **environment):
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WHIPRAY_", "MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments],
        cwd=tree,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, done.stdout
    return done


def compiled(output):
    return {line.split()[1] for line in output.splitlines() if line.startswith("  CC ")}


def test_build_in_place(tree):
    make(tree, "build")
    command = [sys.executable, "-c", "import _core; print(_core.twice(21))"]
    package = tree / "python" / "whipray"
    done = subprocess.run(command, cwd=package, capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr
    assert subprocess.run([package / "bin" / "whiprayd"]).returncode == 7


def test_only_what_changed_is_compiled(tree):
    first = compiled(make(tree, "build").stdout)
    assert first == {name for name in SOURCES if name.startswith("csrc") and name.endswith(".c")}
    assert compiled(make(tree, "build").stdout) == set()
    (tree / "csrc/client/twice.h").write_text("int wr_twice(int a); /* changed */\n")
    assert compiled(make(tree, "build").stdout) == {"csrc/client/twice.c", "csrc/pyext/module.c"}
    assert compiled(make(tree, "build", CFLAGS="-DNEW=1").stdout) == first


def test_hostile_package_stands_beside_the_built_one(tree):
    package = tree / "python" / "whipray"
    make(tree, "build")
    (package / "__init__.py").write_text("from whipray import _core\n")
    make(tree, "build-hostile")
    command = [sys.executable, "-c", "import whipray; print(whipray._core.__file__)"]
    hostile = tree / "build" / "hostile"
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(hostile)}, capture_output=True, text=True
    )
    assert done.stdout.startswith(f"{hostile}/whipray/_core"), done.stderr
    assert (hostile / "whipray" / "bin" / "whiprayd").exists()


def test_builds_of_different_kinds_keep_their_objects(tree):
    make(tree, "build")
    assert compiled(make(tree, "build", WHIPRAY_BUILD="hostile").stdout)
    assert compiled(make(tree, "build").stdout) == set()


@pytest.mark.parametrize("kind", ["test", "asan", "tsan"])
def test_c_tests_run(tree, kind):
    output = make(tree, f"c-{kind}").stdout
    assert "1 passed, 0 failed in 1 programs" in output


def test_sanitizers_are_in_force(tree):
    overflow = "int wr_sum(int a, int b) { int v[2] = {a, b}; return v[a] + 0 * b; }\n"
    (tree / "csrc/base/sum.c").write_text(f'#include "base/sum.h"\n{overflow}')
    (tree / "tests/c/test_sum.c").write_text(
        '#include "check.h"\n#include "base/sum.h"\nTEST(sum) { (void)wr_sum(2, 2); }\n'
    )
    done = make(tree, "c-asan", check=False)
    assert done.returncode != 0
    assert "runtime error: index 2 out of bounds" in done.stdout


def test_warnings_are_errors_in_development(tree):
    unused = "int wr_sum(int a, int b) { int unused; return a + b; }\n"
    (tree / "csrc/base/sum.c").write_text(f'#include "base/sum.h"\n{unused}')
    assert "unused variable" in make(tree, "build", check=False).stdout
    assert make(tree, "build", WHIPRAY_WERROR="").returncode == 0


@pytest.mark.parametrize(
    ("variable", "value"), [("WHIPRAY_BUILD", "fast"), ("WHIPRAY_SANITIZE", "adress")]
)
def test_unknown_switch_is_refused(tree, variable, value):
    done = make(tree, "build", check=False, **{variable: value})
    assert done.returncode != 0
    assert f'{variable} is "{value}"' in done.stdout


def test_missing_compiler_names_the_package(tree):
    done = make(tree, "build", check=False, CC="no-such-compiler")
    assert done.returncode != 0
    assert "the C compiler (no-such-compiler)" in done.stdout
    assert "apt-get install gcc" in done.stdout


def test_missing_headers_name_their_packages(tree):
    """A compiler that knows no header but those of libc and the kernel."""
    compiler = tree / "bare-gcc"
    compiler.write_text(
        "#!/bin/sh\n"
        'case "$*" in *-E*) grep -qE "uv.h|msgpack.h" && exit 1; exit 0 ;; esac\n'
        'exec gcc "$@"\n'
    )
    compiler.chmod(0o755)
    done = make(tree, "build", check=False, CC=str(compiler))
    assert done.returncode != 0
    assert "uv.h" in done.stdout and "msgpack.h" in done.stdout
    assert "apt-get install libuv1-dev libmsgpack-dev" in done.stdout


def test_unsupported_system_is_named(tree):
    commands = tree / "commands"
    commands.mkdir()
    uname = commands / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo 4.19.0-21-amd64\n')
    uname.chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    done = make(tree, "build", check=False, PATH=path)
    assert done.returncode != 0
    assert "needs Linux 5.4 or newer" in done.stdout and "4.19.0-21-amd64" in done.stdout
