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

    def to_dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self)


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
