"""`ray.experimental.internal_kv`: bytes under names, shared by the processes of a session."""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray.compat import kv


def _internal_kv_initialized() -> bool:
    return _core.attached()


def internal_kv_get_gcs_client() -> Any:
    """The client of the open session."""
    return __getattr__("global_gcs_client")


def _internal_kv_get(key: str | bytes, *, namespace: str | bytes | None = None) -> bytes | None:
    return kv.get(key, namespace)


def _internal_kv_exists(key: str | bytes, *, namespace: str | bytes | None = None) -> bool:
    return kv.get(key, namespace) is not None


def _internal_kv_put(
    key: str | bytes,
    value: str | bytes,
    overwrite: bool = True,
    *,
    namespace: str | bytes | None = None,
) -> bool:
    """True if the key was there before."""
    return kv.put(key, value, overwrite, namespace)


def _internal_kv_del(
    key: str | bytes, *, del_by_prefix: bool = False, namespace: str | bytes | None = None
) -> int:
    """How many keys were deleted."""
    return kv.delete(key, del_by_prefix, namespace)


def _internal_kv_list(prefix: str | bytes, *, namespace: str | bytes | None = None) -> list[bytes]:
    """The keys that begin so."""
    return kv.keys(prefix, namespace)


def __getattr__(name: str) -> Any:
    if name == "global_gcs_client":
        from whipray import get_runtime_context

        return kv.GcsClient(get_runtime_context().gcs_address) if _core.attached() else None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
