"""Snapshots of directories, archives and wheels, in the session's directory.

A snapshot has the hash of its content as its name: the same content is there once, whoever gives
it.  It is filled under another name and renamed, so what is found under a name is whole; a process
that dies in the middle leaves a directory that goes with the session.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator

from whipray._private.envs.ignore import Patterns

FOLDER = "runtime_resources"
"""In the session's directory."""
_BLOCK = 1 << 20
_DEFAULT_EXCLUDES = ".git,.venv,venv,__pycache__"


def of_directory(session_dir: str, path: str, excludes: list[str], name: str = "") -> str:
    """The snapshot of the files below `path` that are not excluded; below `name` in it if given.

    Patterns of `excludes` and of .gitignore and .rayignore files count; symbolic links are
    followed.
    """

    def fill(target: str, digest: hashlib._Hash) -> None:
        top = os.path.join(target, name)
        os.makedirs(top, exist_ok=True)
        for source, relative in _files(path, excludes):
            _copy(source, os.path.join(top, relative), digest, relative)

    return _snapshot(session_dir, name, fill)


def of_file(session_dir: str, path: str) -> str:
    """The snapshot of a directory with this one file."""
    name = os.path.basename(path)

    def fill(target: str, digest: hashlib._Hash) -> None:
        _copy(path, os.path.join(target, name), digest, name)

    return _snapshot(session_dir, name, fill)


def of_archive(session_dir: str, path: str) -> str:
    """The snapshot of what a zip or tar file contains."""

    def fill(target: str, digest: hashlib._Hash) -> None:
        _hash_file(path, digest)
        if path.endswith((".zip", ".whl")):
            _unzip(path, target)
        else:
            import tarfile

            with tarfile.open(path) as archive:
                archive.extractall(target, filter="data")

    return _snapshot(session_dir, "archive", fill)


def of_wheel(session_dir: str, path: str) -> str:
    """The snapshot of a wheel's packages, laid out as in site-packages."""

    def fill(target: str, digest: hashlib._Hash) -> None:
        _hash_file(path, digest)
        _unzip(path, target)
        for entry in os.listdir(target):
            if entry.endswith(".data"):
                _spread(os.path.join(target, entry), target)

    return _snapshot(session_dir, "wheel", fill)


def _spread(data: str, target: str) -> None:
    """What a wheel says belongs into site-packages as well."""
    for part in ("purelib", "platlib"):
        source = os.path.join(data, part)
        if os.path.isdir(source):
            shutil.copytree(source, target, dirs_exist_ok=True)
    shutil.rmtree(data)


def _unzip(path: str, target: str) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            place = archive.extract(info, target)
            mode = info.external_attr >> 16
            if mode & 0o111 and os.path.isfile(place):
                os.chmod(place, stat.S_IMODE(mode) & 0o755 | 0o600)


def _snapshot(session_dir: str, salt: str, fill: Callable[[str, hashlib._Hash], None]) -> str:
    folder = os.path.join(session_dir, FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    digest = hashlib.sha1(salt.encode(), usedforsecurity=False)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as making:
        content = os.path.join(making, "content")
        os.mkdir(content)
        fill(content, digest)
        target = os.path.join(folder, f"pkg_{digest.hexdigest()}")
        with contextlib.suppress(FileExistsError, OSError):
            if not os.path.exists(target):
                os.rename(content, target)
    return target


# ---- the files of a directory --------------------------------------------------------------------


def _files(root: str, excludes: list[str]) -> Iterator[tuple[str, str]]:
    """(path, path below root) of every file that is not excluded, in a fixed order."""
    first = [(Patterns([*_default_excludes(), *excludes]), "")]
    yield from _walk(root, "", first, {os.path.realpath(root)})


def _default_excludes() -> list[str]:
    text = os.environ.get("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", _DEFAULT_EXCLUDES)
    return [item.strip() for item in text.split(",") if item.strip()]


def _walk(
    root: str, below: str, patterns: list[tuple[Patterns, str]], parents: set[str]
) -> Iterator[tuple[str, str]]:
    here = os.path.join(root, below) if below else root
    patterns = [*patterns, *((found, below) for found in _ignore_files(here))]
    for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
        relative = f"{below}/{entry.name}" if below else entry.name
        is_dir = entry.is_dir()
        if _excluded(relative, is_dir, patterns):
            continue
        if is_dir:
            real = os.path.realpath(entry.path)
            if real not in parents:
                yield from _walk(root, relative, patterns, {*parents, real})
        elif entry.is_file():
            yield entry.path, relative


def _ignore_files(folder: str) -> Iterator[Patterns]:
    names = [".rayignore"]
    if os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1":
        names.insert(0, ".gitignore")
    for name in names:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                yield Patterns(file)


def _excluded(relative: str, is_dir: bool, patterns: list[tuple[Patterns, str]]) -> bool:
    """The last file that has something to say decides, except that `excludes` is final."""
    found = False
    for at, (item, below) in enumerate(patterns):
        path = relative[len(below) + 1 :] if below else relative
        verdict = item.verdict(path, is_dir)
        if at == 0 and verdict:
            return True
        found = found if verdict is None else verdict
    return found


# ---- copying -------------------------------------------------------------------------------------


def _copy(source: str, target: str, digest: hashlib._Hash, shown: str) -> None:
    """Copy a file with its permissions and add name, permissions and content to the hash."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file, open(target, "wb") as copy:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o755 | 0o600
        digest.update(f"{len(shown)} {shown} {mode} ".encode("utf-8", "surrogateescape"))
        while block := file.read(_BLOCK):
            copy.write(block)
            digest.update(block)
        os.fchmod(copy.fileno(), mode)


def _hash_file(path: str, digest: hashlib._Hash) -> None:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
