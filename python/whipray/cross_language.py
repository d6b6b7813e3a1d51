"""Calls into other languages, of which there are none here: these functions say so."""

from __future__ import annotations

import enum
from typing import NoReturn

__all__ = ["Language", "cpp_actor_class", "cpp_function", "java_actor_class", "java_function"]


class Language(enum.IntEnum):
    """The languages of tasks; only PYTHON runs."""

    PYTHON = 0
    JAVA = 1
    CPP = 2

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(f"{what}: tasks and actors run Python only.")


def java_function(class_name: str, function_name: str) -> NoReturn:
    """NotImplementedError."""
    _refuse(f"java_function({class_name!r}, {function_name!r})")


def java_actor_class(class_name: str) -> NoReturn:
    """NotImplementedError."""
    _refuse(f"java_actor_class({class_name!r})")


def cpp_function(function_name: str) -> NoReturn:
    """NotImplementedError."""
    _refuse(f"cpp_function({function_name!r})")


def cpp_actor_class(create_function_name: str, class_name: str) -> NoReturn:
    """NotImplementedError."""
    _refuse(f"cpp_actor_class({create_function_name!r}, {class_name!r})")
