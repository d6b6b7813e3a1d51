"""What may stand in a runtime_env: checks of its fields, and what a child takes from its parent.

Errors are raised where the environment is written: TypeError for a wrong type, ValueError for a
value that makes no sense, NotImplementedError for what Ray has and this project does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from whipray._private import hints

NOT_THERE = frozenset(
    "conda container image_uri nsight _nsight rocprof_sys _rocprof_sys java_jars".split()
)
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
INTERNAL = frozenset("_ray_release _ray_commit _inject_current_ray".split())
SETUP_SECONDS = 600
_PIP_KEYS = frozenset("packages pip_check pip_version pip_install_options".split())
_UV_KEYS = frozenset("packages uv_check uv_version uv_pip_install_options".split())


def checked(runtime_env: Any) -> dict[str, Any]:
    """A copy with all fields checked, fields that are None left out, lists of packages read.

    An unknown field only warns.
    """
    if not runtime_env:
        if runtime_env is None or isinstance(runtime_env, dict):
            return {}
    if not isinstance(runtime_env, dict):
        raise TypeError(f"runtime_env must be a dict, not {type(runtime_env)}")
    found = {name: value for name, value in runtime_env.items() if value is not None}
    for name, value in list(found.items()):
        if name in NOT_THERE:
            raise NotImplementedError(
                f"runtime_env: {name!r} is not supported (see docs/moving-from-ray.md); for "
                "packages of its own, an environment has 'pip' or 'uv'."
            )
        check = _CHECKS.get(name)
        if check is None:
            if name not in INTERNAL:
                hint = hints.meant(name, _CHECKS)
                hints.warn(f"runtime_env: unknown field {name!r} is ignored.{hint}")
            del found[name]
        else:
            found[name] = check(value)
    if "pip" in found and "uv" in found:
        raise ValueError("runtime_env: the fields 'pip' and 'uv' can not be given together.")
    return {name: value for name, value in found.items() if value is not None}


def merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """`child` over `parent`: env_vars of the two are merged, every other field is replaced."""
    merged = {**parent, **child}
    if parent.get("env_vars") and child.get("env_vars"):
        merged["env_vars"] = {**parent["env_vars"], **child["env_vars"]}
    if "pip" in child:
        merged.pop("uv", None)
    elif "uv" in child:
        merged.pop("pip", None)
    return merged


# ---- the fields ----------------------------------------------------------------------------------


def _env_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"runtime_env['env_vars'] must be a dict, not {type(value)}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(
                "runtime_env['env_vars'] must map strings to strings; "
                f"{key!r}: {text!r} is not such an entry"
            )
        if not key or "=" in key or "\0" in key or "\0" in text:
            raise ValueError(f"runtime_env['env_vars']: {key!r} can not be a variable")
    return dict(value)


def _path(field: str, value: Any) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{field}` must be a string, got {type(value)}.")
    path = os.fspath(value)
    if "://" in path:
        if path.startswith("file://"):
            path = path.removeprefix("file://")
        else:
            raise NotImplementedError(
                f"runtime_env[{field!r}]: {path} is a remote URI; only paths on this machine are "
                "supported."
            )
    return os.path.abspath(os.path.expanduser(path))


def _working_dir(value: Any) -> str | None:
    if value == "":
        return None
    path = _path("working_dir", value)
    if not os.path.isdir(path) and not (os.path.isfile(path) and path.endswith(ARCHIVES)):
        raise ValueError(
            f"runtime_env['working_dir']: {path} is neither a directory that exists nor a package "
            f"({', '.join(ARCHIVES)})."
        )
    return path


def _py_modules(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"`py_modules` must be a list of strings, got {type(value)}.")
    return [_py_module(item) for item in value]


def _py_module(item: Any) -> str:
    from types import ModuleType

    if isinstance(item, ModuleType):
        places = list(getattr(item, "__path__", None) or [item.__file__])
        if len(places) != 1 or places[0] is None:
            raise ValueError(
                f"runtime_env['py_modules']: the module {item.__name__} does not lie in one place."
            )
        item = places[0]
    path = _path("py_modules", item)
    if not os.path.exists(path):
        raise ValueError(f"runtime_env['py_modules']: {path} does not exist.")
    if os.path.isdir(path) or path.endswith((".py", ".whl")) or path.endswith(ARCHIVES):
        return path
    raise ValueError(
        "runtime_env['py_modules']: an entry must be a directory, a .py file, a .whl file or an "
        f"archive, not {path}."
    )


def _strings(field: str) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise TypeError(f"runtime_env[{field!r}] must be of type List[str], got {value!r}")
        return list(value)

    return check


def _packages(field: str, keys: frozenset[str]) -> Callable[[Any], dict[str, Any] | None]:
    """pip and uv: a list of requirements, a file with them, or a dict with further options."""

    def check(value: Any) -> dict[str, Any] | None:
        given = dict(value) if isinstance(value, dict) else {"packages": value}
        if set(given) - keys:
            raise ValueError(
                f"runtime_env[{field!r}] can only have these fields: {', '.join(sorted(keys))}; "
                f"got: {list(given)}"
            )
        if "packages" not in given:
            raise ValueError(f"runtime_env[{field!r}] must include field 'packages'")
        for name, item in given.items():
            _check_package_option(field, name, item)
        wanted = _requirements(field, given["packages"])
        given["packages"] = list(dict.fromkeys(wanted))
        return given if wanted else None

    return check


def _check_package_option(field: str, name: str, value: Any) -> None:
    if name.endswith("_check") and not isinstance(value, bool):
        raise TypeError(f"runtime_env[{field!r}][{name!r}] must be of type bool, got {value!r}")
    if name.endswith("_version") and not isinstance(value, str):
        raise TypeError(f"runtime_env[{field!r}][{name!r}] must be of type str, got {value!r}")
    if name.endswith("_options"):
        _strings(f"{field}']['{name}")(value)


def _requirements(field: str, value: Any) -> list[str]:
    if isinstance(value, str):
        if not os.path.isfile(value):
            raise ValueError(f"{value} is not a valid file")
        with open(value, encoding="utf-8") as file:
            return [line for line in file.read().strip().split("\n") if line.strip()]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(
            f"runtime_env[{field!r}] must be of type str or List[str], got {type(value)}"
        )
    return list(value)


def _py_executable(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"runtime_env['py_executable'] must be a string, got {value!r}")
    return value


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        if "." not in value:
            raise ValueError(
                f"runtime_env['worker_process_setup_hook']: {value!r} is not of the form "
                "'module.function'"
            )
        return value
    if not callable(value):
        raise TypeError(f"worker_process_setup_hook must be a function, got {type(value)}.")
    return value


def _config(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"runtime_env['config'] must be of type dict, got: {type(value)}")
    seconds = value.get("setup_timeout_seconds", SETUP_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(seconds)}")
    if seconds != -1 and seconds <= 0:
        raise ValueError(
            f"setup_timeout_seconds must be greater than zero or equals to -1, got: {seconds}"
        )
    if not isinstance(value.get("eager_install", True), bool):
        raise TypeError(f"eager_install must be a boolean, got {value['eager_install']!r}")
    return dict(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "env_vars": _env_vars,
    "working_dir": _working_dir,
    "py_modules": _py_modules,
    "excludes": _strings("excludes"),
    "pip": _packages("pip", _PIP_KEYS),
    "uv": _packages("uv", _UV_KEYS),
    "py_executable": _py_executable,
    "worker_process_setup_hook": _hook,
    "config": _config,
}
KNOWN = frozenset(_CHECKS) | NOT_THERE | INTERNAL
