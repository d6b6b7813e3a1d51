"""The wheel: small, complete, and in need of nothing but libc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile

import pytest

from tests.lint.sources import ROOT

MAX_WHEEL_BYTES = 2_000_000
# What glibc consists of; older versions keep threads and clocks in libraries of their own.
LIBC = re.compile(r"lib(c|m|pthread|dl|rt)\.so\.\d+|ld-linux.*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel with the switches of a release, built from the source archive of this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WHIPRAY_")}
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={directory}", str(ROOT)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    (found,) = directory.glob("whipray-*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, directory], check=True)
    return directory


def needed_libraries(path):
    output = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True)
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output.stdout)


def test_size(wheel):
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES


def test_contents(wheel):
    modes = {i.filename: i.external_attr >> 16 for i in zipfile.ZipFile(wheel).infolist()}
    package = ROOT / "python" / "whipray"
    modules = {
        f"whipray/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert {name for name in modes if name.endswith(".py")} == modules
    assert any(re.fullmatch(r"whipray/_core\.cpython-.*\.so", name) for name in modes)
    assert modes["whipray/bin/whiprayd"] & 0o111 == 0o111, "the daemon must be executable"
    assert "whipray/py.typed" in modes
    strays = [n for n in modes if not n.startswith("whipray") or n.endswith((".c", ".h", ".o"))]
    assert strays == []


def test_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
    lines = archive.read(name).decode().splitlines()
    required = [x for x in lines if x.startswith("Requires-Dist:") and "extra ==" not in x]
    assert len(required) == 1 and required[0].startswith("Requires-Dist: cloudpickle")
    assert "License-Expression: Apache-2.0" in lines


def test_binaries_need_only_libc(unpacked):
    binaries = [*unpacked.glob("whipray/_core*.so"), unpacked / "whipray/bin/whiprayd"]
    assert len(binaries) == 2
    for path in binaries:
        assert [n for n in needed_libraries(path) if not LIBC.fullmatch(n)] == []


def test_extension_exports_its_init_function_only(unpacked):
    (library,) = unpacked.glob("whipray/_core*.so")
    output = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in output.stdout.splitlines()] == ["PyInit__core"]
