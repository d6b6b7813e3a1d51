"""Constants of Ray that libraries read."""

from __future__ import annotations

from ray._common.utils import env_bool, env_float, env_integer

from whipray._private.options import GRAIN

REDIS_DEFAULT_PASSWORD = ""
MIN_RESOURCE_GRANULARITY = 1 / GRAIN
DEFAULT_OBJECT_STORE_MEMORY_PROPORTION = 0.3
ID_SIZE = 28
RAY_ADDRESS_ENVIRONMENT_VARIABLE = "RAY_ADDRESS"
RAY_NAMESPACE_ENVIRONMENT_VARIABLE = "RAY_NAMESPACE"
RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE = "RAY_RUNTIME_ENV"

__all__ = [
    "MIN_RESOURCE_GRANULARITY",
    "REDIS_DEFAULT_PASSWORD",
    "env_bool",
    "env_float",
    "env_integer",
]
