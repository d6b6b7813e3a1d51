"""Modules of Ray's wheel below `ray._private` that libraries import, on Whipray."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

MODULES = """
conda conda_utils constants context dependency_utils java_jars nsight packaging pip plugin
plugin_schema_manager protocol py_executable py_modules rocprof_sys uri_cache utils uv
uv_runtime_env_hook validation virtualenv_utils working_dir
"""


@pytest.mark.parametrize("name", MODULES.split())
def test_modules_about_environments_are_importable(name: str) -> None:
    assert import_module(f"ray._private.runtime_env.{name}").__name__.endswith(name)


def test_what_they_tell_of_environments() -> None:
    packaging: Any = import_module("ray._private.runtime_env.packaging")
    validation: Any = import_module("ray._private.runtime_env.validation")
    assert packaging.is_zip_uri("s3://bucket/file.zip")
    assert not packaging.is_whl_uri("s3://bucket/file.zip")
    assert validation.parse_and_validate_env_vars({"A": "1"}) == {"A": "1"}
    with pytest.raises(TypeError):
        validation.parse_and_validate_env_vars({"A": 1})
