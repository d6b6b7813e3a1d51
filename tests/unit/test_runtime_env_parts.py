"""Parts of runtime environments that need no engine: patterns, snapshots, merging."""

from __future__ import annotations

from pathlib import Path

import pytest

from whipray._private.envs import fields, package
from whipray._private.envs.ignore import Patterns
from whipray.runtime_env import RuntimeEnv, RuntimeEnvConfig


@pytest.mark.parametrize(
    ("patterns", "excluded", "kept"),
    [
        (["*.log"], ["a.log", "deep/er/a.log"], ["a.logs", "log"]),
        (["/top"], ["top"], ["deep/top"]),
        (["a/b"], ["a/b"], ["c/a/b"]),
        (["**/b"], ["b", "a/b", "c/a/b"], ["bb"]),
        (["a/**"], ["a/b", "a/b/c"], ["a"]),
        (["a/**/z"], ["a/z", "a/b/c/z"], ["a/zz"]),
        (["*.py", "!keep.py"], ["x.py"], ["keep.py"]),
        (["a?c"], ["abc"], ["ac", "a/c"]),
        (["[ab].txt"], ["a.txt"], ["c.txt"]),
        (["[!ab].txt"], ["c.txt"], ["a.txt"]),
        (["# comment", "", r"\#name"], ["#name"], ["# comment"]),
        (["name "], ["name"], ["name "]),
        (["a+b"], ["a+b"], ["aab"]),
    ],
)
def test_patterns(patterns: list[str], excluded: list[str], kept: list[str]) -> None:
    found = Patterns(patterns)
    assert [path for path in excluded if not found.verdict(path, False)] == []
    assert [path for path in kept if found.verdict(path, False)] == []


def test_patterns_for_directories_only() -> None:
    found = Patterns(["build/"])
    assert found.verdict("build", True) and found.verdict("deep/build", True)
    assert found.verdict("build", False) is None


def names_in(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def test_snapshots_have_the_name_of_their_content(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / ".gitignore").write_text("*\n!kept\n")
    for name in ("a", "inner/kept", "inner/gone"):
        (source / name).write_text(name)
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "a.pyc").write_text("")
    (source / "loop").symlink_to(source)
    first = package.of_directory(str(tmp_path), str(source), [])
    assert names_in(first) == ["a", "inner/kept"]
    assert package.of_directory(str(tmp_path), str(source), []) == first
    assert package.of_directory(str(tmp_path), str(source), ["a"]) != first
    (source / "a").write_text("changed")
    assert package.of_directory(str(tmp_path), str(source), []) != first
    assert Path(first, "a").read_text() == "a"
    left = [path.name for path in (tmp_path / package.FOLDER).iterdir()]
    assert all(name.startswith("pkg_") for name in left)


def test_git_may_be_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / ".gitignore").write_text("a\n")
    (source / "a").write_text("")
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    found = package.of_directory(str(tmp_path), str(source), [])
    assert names_in(found) == [".gitignore", "a"]


def test_merge() -> None:
    parent = {"env_vars": {"A": "1", "B": "1"}, "working_dir": "/x", "pip": {"packages": ["a"]}}
    child = {"env_vars": {"B": "2"}, "uv": {"packages": ["b"]}}
    assert fields.merge(parent, child) == {
        "env_vars": {"A": "1", "B": "2"},
        "working_dir": "/x",
        "uv": {"packages": ["b"]},
    }


def test_class_round_trip() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, pip=["x"], config=RuntimeEnvConfig(5))
    assert RuntimeEnv.deserialize(env.serialize()) == env
    assert env.has_pip() and not env.has_uv() and env.working_dir() == ""
    assert env["config"]["setup_timeout_seconds"] == 5
    with pytest.raises(ValueError):
        RuntimeEnv(pip=["x"], uv=["x"])
    with pytest.raises(NotImplementedError, match="conda"):
        RuntimeEnv(conda="base")
    with pytest.raises(NotImplementedError, match="remote URI"):
        RuntimeEnv(working_dir="https://example.org/x.zip")
