"""RAY_RUNTIME_ENV_HOOK: a function that may change the runtime_env given to init."""

from __future__ import annotations

import importlib
from typing import Any


def applied(name: str, runtime_env: Any) -> Any:
    """What the function `module.name` makes of the environment, which may be None."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)(runtime_env)
