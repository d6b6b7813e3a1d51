"""Functions that an environment names: RAY_RUNTIME_ENV_HOOK, worker_process_setup_hook."""

from __future__ import annotations

import importlib
from typing import Any


def function(path: str) -> Any:
    """What `module.name` names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
