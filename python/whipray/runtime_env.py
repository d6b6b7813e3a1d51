"""`RuntimeEnv`: what the workers of a job, a task or an actor need, as a dict that is checked."""

from __future__ import annotations

import json
from typing import Any

from whipray._private.envs import fields

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is set up: setup_timeout_seconds (-1: no limit), eager_install."""

    def __init__(
        self,
        setup_timeout_seconds: int = fields.SETUP_SECONDS,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds,
            eager_install=eager_install,
            log_files=log_files or [],
        )
        fields.checked({"config": self})

    known_fields = frozenset({"setup_timeout_seconds", "eager_install", "log_files"})

    def to_dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self)

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        """What holds when nothing is said."""
        return cls()

    @staticmethod
    def parse_and_validate_runtime_env_config(
        config: dict[str, Any] | RuntimeEnvConfig,
    ) -> RuntimeEnvConfig:
        """A config from a dict; unknown entries are left out.  TypeError for anything else."""
        if isinstance(config, RuntimeEnvConfig):
            return config
        if not isinstance(config, dict):
            raise TypeError(
                "runtime_env['config'] must be of type dict or RuntimeEnvConfig, "
                f"got: {type(config)}"
            )
        known = RuntimeEnvConfig.known_fields
        return RuntimeEnvConfig(**{name: config[name] for name in config if name in known})


class RuntimeEnv(dict[str, Any]):
    """The fields of a runtime environment; may stand wherever a dict may.

    TypeError or ValueError for fields that are wrong, NotImplementedError for those that are not
    supported; unknown ones warn.
    """

    def __init__(self, *, _validate: bool = True, **given: Any) -> None:
        super().__init__({name: value for name, value in given.items() if value is not None})
        if _validate:
            fields.checked(self)

    def __getattr__(self, name: str) -> Any:
        """`env.working_dir()` and the like: the field of that name, or None."""
        if name not in fields.KNOWN:
            raise AttributeError(name)
        return lambda: self.get(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (dict(self),)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a field, checked as if it had been given at first."""
        super().__setitem__(name, fields.checked({name: value}).get(name, value))

    def env_vars(self) -> dict[str, str]:
        """The variables; {} when there are none."""
        return dict(self.get("env_vars") or {})

    def py_modules(self) -> list[str]:
        """The modules; [] when there are none."""
        return list(self.get("py_modules") or [])

    def has_pip(self) -> bool:
        """Are packages to be installed by pip?"""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Are packages to be installed by uv?"""
        return bool(self.get("uv"))

    def has_conda(self) -> bool:
        """Never: conda is not supported."""
        return False

    def has_working_dir(self) -> bool:
        """Is there a working directory?"""
        return self.get("working_dir") is not None

    def has_py_container(self) -> bool:
        """Never: containers are not supported."""
        return False

    def working_dir(self) -> str:
        """The working directory; "" when there is none."""
        return self.get("working_dir") or ""

    def pip_config(self) -> dict[str, Any]:
        """How pip installs what; {} when it does not."""
        return dict(fields.checked({"pip": self["pip"]})["pip"]) if self.has_pip() else {}

    def uv_config(self) -> dict[str, Any]:
        """How uv installs what; {} when it does not."""
        return dict(fields.checked({"uv": self["uv"]})["uv"]) if self.has_uv() else {}

    def set(self, name: str, value: Any) -> None:
        """Set a field, as `env[name] = value` does."""
        self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self)

    def serialize(self) -> str:
        """As JSON, with sorted keys; a hook by its name."""
        return json.dumps(
            self, sort_keys=True, default=lambda hook: getattr(hook, "__name__", repr(hook))
        )

    @classmethod
    def deserialize(cls, text: str) -> RuntimeEnv:
        """Back from JSON."""
        return cls(_validate=False, **json.loads(text))


def _plain(values: dict[str, Any]) -> RuntimeEnv:
    return RuntimeEnv(_validate=False, **values)
