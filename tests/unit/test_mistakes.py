"""What is said about the usual mistakes, as far as they need no session."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import whipray
from whipray._private import exporting, hints, machine, options, serialization


class Counter:
    def __init__(self, start: int, *, step: int = 1) -> None:
        self.n = start


def scale(x: float, by: float = 2.0) -> float:
    return x * by


def raised(action: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        action()
    assert isinstance(caught.value, Exception)
    return caught.value


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num_cpu", " Did you mean 'num_cpus'?"),
        ("cpus", " Did you mean 'num_cpus'?"),
        ("max_retry", " Did you mean 'max_retries'?"),
        ("max_concurrency", " max_concurrency is an option of actors."),
        ("concurrency_group", " concurrency_group is an option of actor methods."),
        ("x", ""),
    ],
)
def test_unknown_options_come_with_the_one_that_was_meant(name: str, hint: str) -> None:
    error = raised(lambda: options.check_task({name: 1}, in_options=True))
    assert str(error).endswith("]." + hint)


def test_private_options_are_not_suggested() -> None:
    assert hints.meant("labels", ["_labels"]) == ""


def test_unknown_arguments_of_init_come_with_the_one_that_was_meant() -> None:
    error = raised(lambda: whipray.init(num_cpu=1))
    assert str(error) == "Unknown keyword argument(s): num_cpu. Did you mean 'num_cpus'?"
    error = raised(lambda: whipray.init(xyzzy=1))
    assert str(error) == "Unknown keyword argument(s): xyzzy"


def test_unknown_fields_of_a_runtime_env_warn_where_they_are_written() -> None:
    task = whipray.remote(scale)
    with pytest.warns(UserWarning, match="Did you mean 'env_vars'") as told:
        task.options(runtime_env={"env_var": {"A": "1"}})
    assert told[0].filename == __file__


def test_a_warning_names_the_line_outside_however_deep_it_comes_from() -> None:
    source = "def deep(n, warn):\n    return deep(n - 1, warn) if n else warn('told')\n"
    inside: dict[str, Any] = {"__name__": "whipray.somewhere"}
    exec(source, inside)
    for depth in (0, 3):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            inside["deep"](depth, hints.warn)
        assert [warning.filename for warning in told] == [__file__]


def test_what_cannot_be_pickled_in_a_function_is_told_in_words() -> None:
    lock = threading.Lock()

    def use_lock() -> bool:
        return lock.locked()

    error = raised(lambda: exporting.dumps_definition(use_lock, use_lock))
    assert "cannot pickle '_thread.lock' object" in str(error)
    assert "stands in the way: variable 'lock' used by the function 'use_lock' (in" in str(error)


def test_a_socket_is_told_as_any_other_argument() -> None:
    import socket

    with socket.socket() as made:
        error = raised(lambda: serialization.dump({"a": made}, [], 1))
    assert str(error).startswith("Could not serialize the argument at position 1 {'a': ")
    assert "item 'a' of dict: cannot pickle 'socket' object" in str(error)


def test_what_options_gives_is_shown_as_it_was_written() -> None:
    task = whipray.remote(scale)
    name = f"RemoteFunction({__name__}.scale)"
    assert repr(task.remote) == name + ".remote"
    assert repr(task.options(num_cpus=2, name="a")) == name + ".options(num_cpus=2, name='a')"
    actor = whipray.remote(Counter)
    assert repr(actor.options(num_cpus=0)) == "ActorClass(Counter).options(num_cpus=0)"


def test_a_removed_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError, match=r"has been removed.*before init"):
        machine.job_config()


@pytest.mark.parametrize(
    "given",
    [{"namespace": "a\0b"}, {"resources": {"a\0b": 1}}, {"_temp_dir": "/tmp/a\0b"}],
    ids=["namespace", "resources", "_temp_dir"],
)
def test_null_characters_in_arguments_of_init(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must not contain null characters"):
        whipray.init(num_cpus=1, **given)
    assert not whipray.is_initialized()


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("", ValueError, "the name of a resource is empty"),
        ("a" * 112, ValueError, "may have 111 bytes at most"),
        (1, TypeError, "names of resources are strings"),
    ],
)
def test_names_of_resources_of_a_session(name: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        whipray.init(num_cpus=1, resources={name: 1})
    assert not whipray.is_initialized()
