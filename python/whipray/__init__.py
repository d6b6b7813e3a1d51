"""Tasks, actors and a shared object store with the API of Ray, on an engine written in C.

    import whipray as ray

    @ray.remote
    def square(x):
        return x * x

    ray.get([square.remote(i) for i in range(4)])

Importing the package loads the C extension and little else: everything that is not needed at once
is imported when it is first used.

PYTEST_DONT_REWRITE: with WHIPRAY_AS_RAY=1 the package is there before pytest.
"""

from __future__ import annotations

import os as _os
import sys as _sys

from whipray import _core
from whipray._core import ObjectRef, get, put
from whipray._private import refs as _refs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from whipray import actor as actor
    from whipray import client_builder as client_builder
    from whipray import cloudpickle as cloudpickle
    from whipray import cluster_utils as cluster_utils
    from whipray import cross_language as cross_language
    from whipray import dag as dag
    from whipray import exceptions as exceptions
    from whipray import experimental as experimental
    from whipray import internal as internal
    from whipray import job_config as job_config
    from whipray import job_submission as job_submission
    from whipray import remote_function as remote_function
    from whipray import runtime_context as runtime_context
    from whipray import runtime_env as runtime_env
    from whipray import types as types
    from whipray import util as util
    from whipray._private.api import (
        cancel,
        get_actor,
        get_gpu_ids,
        is_initialized,
        kill,
        remote,
        wait,
    )
    from whipray._private.generators import DynamicObjectRefGenerator, ObjectRefGenerator
    from whipray._private.ids import (
        ActorClassID,
        ActorID,
        ClusterID,
        FunctionID,
        JobID,
        NodeID,
        PlacementGroupID,
        TaskID,
        UniqueID,
        WorkerID,
    )
    from whipray._private.logging_config import LoggingConfig
    from whipray._private.state import available_resources, cluster_resources, nodes
    from whipray._private.timeline import timeline
    from whipray._private.worker import init, shutdown
    from whipray.actor import method
    from whipray.client_builder import ClientBuilder, client
    from whipray.cross_language import Language, cpp_function, java_actor_class, java_function
    from whipray.runtime_context import get_runtime_context

__version__ = "0.1.0"

SCRIPT_MODE = 0
WORKER_MODE = 1
ObjectID = ObjectRef

_core.set_errors("whipray.exceptions")
_core.set_hooks("whipray._private.hooks")
_refs.attach(ObjectRef)

_MODULES = frozenset(
    {
        "actor",
        "client_builder",
        "cloudpickle",
        "cluster_utils",
        "cross_language",
        "dag",
        "exceptions",
        "experimental",
        "internal",
        "job_config",
        "job_submission",
        "remote_function",
        "runtime_context",
        "runtime_env",
        "types",
        "util",
    }
)
_LAZY = {
    "init": "whipray._private.worker",
    "shutdown": "whipray._private.worker",
    "ClientBuilder": "whipray.client_builder",
    "Language": "whipray.cross_language",
    "LoggingConfig": "whipray._private.logging_config",
    "client": "whipray.client_builder",
    "cpp_function": "whipray.cross_language",
    "java_actor_class": "whipray.cross_language",
    "java_function": "whipray.cross_language",
    "is_initialized": "whipray._private.api",
    "remote": "whipray._private.api",
    "wait": "whipray._private.api",
    "cancel": "whipray._private.api",
    "kill": "whipray._private.api",
    "get_actor": "whipray._private.api",
    "get_gpu_ids": "whipray._private.api",
    "method": "whipray.actor",
    "nodes": "whipray._private.state",
    "timeline": "whipray._private.timeline",
    "cluster_resources": "whipray._private.state",
    "available_resources": "whipray._private.state",
    "get_runtime_context": "whipray.runtime_context",
    "ActorClassID": "whipray._private.ids",
    "ActorID": "whipray._private.ids",
    "DynamicObjectRefGenerator": "whipray._private.generators",
    "ObjectRefGenerator": "whipray._private.generators",
    "ClusterID": "whipray._private.ids",
    "FunctionID": "whipray._private.ids",
    "JobID": "whipray._private.ids",
    "NodeID": "whipray._private.ids",
    "PlacementGroupID": "whipray._private.ids",
    "TaskID": "whipray._private.ids",
    "UniqueID": "whipray._private.ids",
    "WorkerID": "whipray._private.ids",
}

__all__ = [
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "ClientBuilder",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "Language",
    "LoggingConfig",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "client",
    "cloudpickle",
    "cluster_resources",
    "cluster_utils",
    "cpp_function",
    "cross_language",
    "dag",
    "exceptions",
    "experimental",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "internal",
    "is_initialized",
    "java_actor_class",
    "java_function",
    "job_config",
    "job_submission",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "runtime_context",
    "runtime_env",
    "shutdown",
    "timeline",
    "types",
    "util",
    "wait",
]


def __getattr__(name: str) -> Any:
    """Import what a public name needs when it is first asked for."""
    if name in _MODULES:
        module = f"whipray.{name}"
        __import__(module)
        return _sys.modules[module]
    source = _LAZY.get(name)
    if source is None:
        from whipray._private.absent import no_attribute

        raise no_attribute(__name__, name)
    __import__(source)
    value = getattr(_sys.modules[source], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if _os.environ.get("WHIPRAY_ADDRESS", "").startswith("ray:"):
    from whipray._private import handover as _handover

    _handover.prepare()
elif _os.environ.get("WHIPRAY_AS_RAY", "0") not in ("", "0"):
    from whipray import compat as _compat

    _compat.install()
