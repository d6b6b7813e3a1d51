"""`JobConfig`: what a driver says about its job, as one object for `init(job_config=...)`."""

from __future__ import annotations

import json
from typing import Any

from whipray._private import logging_config as logs

__all__ = ["JobConfig"]


class JobConfig:
    """Namespace, runtime environment, metadata and defaults of a job.

    Arguments of init itself count more.  Directories of `code_search_path` (of their files the
    directories) come first on the import path of the workers.  `jvm_options` are kept and without
    meaning.
    """

    def __init__(
        self,
        jvm_options: list[str] | None = None,
        code_search_path: list[str] | None = None,
        runtime_env: dict[str, Any] | None = None,
        _client_job: bool = False,
        metadata: dict[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False,
        _py_driver_sys_path: list[str] | None = None,
    ) -> None:
        if not isinstance(code_search_path or [], list | tuple):
            raise TypeError(
                f"The type of code search path is incorrect: {type(code_search_path)}; give a list."
            )
        self.jvm_options = jvm_options or []
        self.code_search_path = list(code_search_path or [])
        self._client_job = _client_job
        self.metadata = metadata or {}
        self.ray_namespace = ray_namespace
        self._py_driver_sys_path = list(_py_driver_sys_path or [])
        self.py_logging_config: logs.LoggingConfig | None = None
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        """Set one entry of the metadata."""
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: dict[str, Any] | None, validate: bool = False) -> None:
        """Set the runtime environment; with `validate` errors are raised now, not by init."""
        self.runtime_env = runtime_env or {}
        if validate:
            from whipray.runtime_env import RuntimeEnv

            self.runtime_env = RuntimeEnv(**self.runtime_env)

    def set_py_logging_config(self, logging_config: logs.LoggingConfig | None = None) -> None:
        """Set how the processes of the job write their logs."""
        self.py_logging_config = logs.checked(logging_config)

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Set the namespace."""
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Set what actors without a `lifetime` of their own get: "detached" or "non_detached"."""
        if default_actor_lifetime not in ("detached", "non_detached"):
            raise ValueError("Default actor lifetime must be one of `detached`, `non_detached`")
        self._default_actor_lifetime = default_actor_lifetime

    @classmethod
    def from_json(cls, job_config_json: dict[str, Any]) -> JobConfig:
        """From a dict, as `whipray job submit` hands it on; keys that are not known are ignored."""
        names = ("jvm_options", "code_search_path", "runtime_env", "metadata", "ray_namespace")
        given: dict[str, Any] = {name: job_config_json.get(name) for name in names}
        return cls(**given)


# ---- for init ------------------------------------------------------------------------------------


def of_init(config: Any, logging_config: Any) -> JobConfig:
    """What init was given, checked; TypeError for what is none."""
    if config is not None and not isinstance(config, JobConfig):
        raise TypeError(f"job_config must be a JobConfig, not {type(config)}")
    found = config or JobConfig()
    if logging_config is not None:
        found.set_py_logging_config(logging_config)
    return found


def text_for_workers(config: JobConfig) -> str:
    """What a worker has to know of it, see `apply_in_worker`."""
    logging = config.py_logging_config
    return json.dumps(
        {
            "detached": config._default_actor_lifetime == "detached",
            "logging": logging.to_dict() if logging else None,
        }
    )


def apply_in_worker(text: str) -> bool:
    """Give this worker the job's logging; returns whether its actors are detached by default."""
    found = json.loads(text)
    if found["logging"] is not None:
        logs.LoggingConfig.from_dict(found["logging"])._apply()
    return bool(found["detached"])
