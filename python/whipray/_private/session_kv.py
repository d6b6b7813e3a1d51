"""Bytes under names that whiprayd keeps for all processes of a session."""

from __future__ import annotations

from typing import Any

from whipray import _core

MSG_KV_PUT, MSG_KV_GET, MSG_KV_DEL, MSG_KV_KEYS = 14, 15, 16, 17
"""Values of wire/messages.h."""


def ask(message: int, *fields: Any) -> list[Any]:
    """What whiprayd answers."""
    return list(_core.unpack(_core.rpc(message, _core.pack(list(fields)))))


def publish(space: str, key: bytes, value: Any) -> None:
    """Make something that msgpack can hold known under a name; the last one counts."""
    ask(MSG_KV_PUT, space, key, _core.pack(value), True)


def published(space: str, key: bytes) -> Any:
    """What has been published there; None if nothing has."""
    found = ask(MSG_KV_GET, space, key)
    return _core.unpack(found[0]) if found else None
