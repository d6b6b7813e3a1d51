"""Builds the extension module and the daemon; the rest of the package is in pyproject.toml.

Flags, sources and switches (WHIPRAY_BUILD, WHIPRAY_SANITIZE) are those of tools/native.mk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
DAEMON = Path("whipray", "bin", "whiprayd")
HOOK = "whipray-as-ray.pth"


class NativeBuild(build_ext):
    """Runs make for `whipray._core` and puts the daemon beside it."""

    def build_extension(self, ext: Extension) -> None:
        if subprocess.run(["sh", "tools/prepare.sh", sys.executable], cwd=ROOT).returncode:
            raise SystemExit("whipray: cannot build the package here; see the message above")
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        outputs = [library, library.parents[1] / DAEMON]
        self._make("ext", "daemon", f"EXT={outputs[0]}", f"DAEMON={outputs[1]}")
        if os.environ.get("WHIPRAY_BUILD", "release") == "release":
            subprocess.run(["strip", "--strip-unneeded", *outputs], check=True)

    def copy_extensions_to_source(self) -> None:
        """An editable install runs the files that `make build` keeps up to date in place."""
        for ext in self.extensions:
            library = ROOT / "python" / Path(*ext.name.split("."))
            target = library.with_name(Path(self.get_ext_filename(ext.name)).name)
            self._make("ext", "daemon", f"EXT={target}", f"DAEMON={ROOT / 'python' / DAEMON}")

    def _make(self, *arguments: str) -> None:
        command = ["make", "-f", "tools/native.mk", f"-j{self.parallel or os.cpu_count() or 1}"]
        subprocess.run([*command, f"PYTHON={sys.executable}", *arguments], cwd=ROOT, check=True)


class PythonBuild(build_py):
    """Also puts the file beside the package that lets WHIPRAY_AS_RAY work from the start."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file(f"python/whipray/compat/{HOOK}", f"{self.build_lib}/{HOOK}")


setup(
    ext_modules=[Extension("whipray._core", sorted(glob("csrc/*/*.c")))],
    cmdclass={"build_ext": NativeBuild, "build_py": PythonBuild},
)
