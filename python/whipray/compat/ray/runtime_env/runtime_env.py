"""`ray.runtime_env.runtime_env`: where Ray defines the classes of `ray.runtime_env`."""

from __future__ import annotations

from whipray.runtime_env import RuntimeEnv, RuntimeEnvConfig

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]
