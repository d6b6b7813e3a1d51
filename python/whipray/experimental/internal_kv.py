"""Bytes under names, shared by all processes of a session and kept by its daemon.

Keys stand in namespaces; text is taken as UTF-8.
"""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray._private import session_kv, worker

Text = str | bytes


def _bytes(text: Text | None) -> bytes:
    if text is None:
        return b""
    if isinstance(text, str):
        return text.encode()
    if not isinstance(text, bytes):
        raise TypeError(f"keys and values are bytes or text, not {type(text)}")
    return text


def _ask(message: int, namespace: Text | None, *fields: Any) -> list[Any]:
    worker.require_attached("the key-value store")
    return session_kv.ask(message, _bytes(namespace), *fields)


def _internal_kv_initialized() -> bool:
    return _core.attached()


def _initialize_internal_kv(gcs_client: Any) -> None:
    """Nothing to connect: the store is that of the open session."""
    if gcs_client is None:
        raise AssertionError("_initialize_internal_kv() takes a client of the store")


def _internal_kv_reset() -> None:
    """Nothing to forget: the store goes with the session."""


def _internal_kv_get(key: Text, *, namespace: Text | None = None) -> bytes | None:
    found = _ask(session_kv.MSG_KV_GET, namespace, _bytes(key))
    return found[0] if found else None


def _internal_kv_exists(key: Text, *, namespace: Text | None = None) -> bool:
    return bool(_ask(session_kv.MSG_KV_GET, namespace, _bytes(key)))


def _internal_kv_put(
    key: Text, value: Text, overwrite: bool = True, *, namespace: Text | None = None
) -> bool:
    """True if the key was there before; its value is kept then unless `overwrite`."""
    return bool(
        _ask(session_kv.MSG_KV_PUT, namespace, _bytes(key), _bytes(value), bool(overwrite))[0]
    )


def _internal_kv_del(
    key: Text, *, del_by_prefix: bool = False, namespace: Text | None = None
) -> int:
    """How many keys were deleted: that one, or all that begin so."""
    return int(_ask(session_kv.MSG_KV_DEL, namespace, _bytes(key), bool(del_by_prefix))[0])


def _internal_kv_list(prefix: Text, *, namespace: Text | None = None) -> list[bytes]:
    """The keys that begin so."""
    return _ask(session_kv.MSG_KV_KEYS, namespace, _bytes(prefix))


def _pin_runtime_env_uri(uri: str, *, expiration_s: int) -> None:
    """Nothing to do: what is stored stays for as long as the session."""


def put_later(key: Text, value: bytes, namespace: Text) -> None:
    """Set a value without waiting until that is done."""
    _core.notify(session_kv.MSG_KV_PUT, _core.pack([_bytes(namespace), _bytes(key), value, True]))


def internal_kv_get_gcs_client() -> Any:
    """The client of the open session; None if there is none."""
    return __getattr__("global_gcs_client")


def __getattr__(name: str) -> Any:
    if name == "global_gcs_client":
        from whipray import get_runtime_context
        from whipray.compat.kv import GcsClient

        return GcsClient(get_runtime_context().gcs_address) if _core.attached() else None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
