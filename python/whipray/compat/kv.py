"""The key-value store that Ray's private interface has: kept by a detached actor.

The actor is started by the first put; it takes no CPU and lives as long as the session.
"""

from __future__ import annotations

from typing import Any

import whipray

NAME, NAMESPACE = "key-value store", "_whipray_internal"
Text = str | bytes

_actor_class: Any = None


class Store:
    """Namespaces with keys and values; what the actor runs."""

    def __init__(self) -> None:
        self._spaces: dict[bytes, dict[bytes, bytes]] = {}

    def get(self, key: bytes, space: bytes) -> bytes | None:
        """The value, or None."""
        return self._spaces.get(space, {}).get(key)

    def put(self, key: bytes, value: bytes, overwrite: bool, space: bytes) -> bool:
        """Set a value; True if the key was there before."""
        values = self._spaces.setdefault(space, {})
        known = key in values
        if overwrite or not known:
            values[key] = value
        return known

    def delete(self, key: bytes, by_prefix: bool, space: bytes) -> int:
        """Forget a key, or all that begin so; how many there were."""
        values = self._spaces.get(space, {})
        gone = [name for name in values if name == key or (by_prefix and name.startswith(key))]
        for name in gone:
            del values[name]
        return len(gone)

    def keys(self, prefix: bytes, space: bytes) -> list[bytes]:
        """The keys that begin so."""
        return [name for name in self._spaces.get(space, {}) if name.startswith(prefix)]


def get(key: Text, namespace: Text | None = None) -> bytes | None:
    """The value of the key, or None."""
    return _ask(None, "get", _bytes(key), _bytes(namespace))  # type: ignore[no-any-return]


def put(key: Text, value: Text, overwrite: bool = True, namespace: Text | None = None) -> bool:
    """Set a value; True if the key was there before."""
    store = _store(create=True)
    arguments = _bytes(key), _bytes(value), overwrite, _bytes(namespace)
    return bool(whipray.get(store.put.remote(*arguments)))


def delete(key: Text, by_prefix: bool = False, namespace: Text | None = None) -> int:
    """Forget a key, or all that begin so; how many there were."""
    return int(_ask(0, "delete", _bytes(key), by_prefix, _bytes(namespace)))


def keys(prefix: Text, namespace: Text | None = None) -> list[bytes]:
    """The keys that begin so."""
    return list(_ask([], "keys", _bytes(prefix), _bytes(namespace)))


def _ask(empty: Any, question: str, *arguments: Any) -> Any:
    """The store's answer; `empty` when nothing was ever stored."""
    store = _store(create=False)
    return empty if store is None else whipray.get(getattr(store, question).remote(*arguments))


def _store(create: bool) -> Any:
    if not create:
        try:
            return whipray.get_actor(NAME, namespace=NAMESPACE)
        except ValueError:
            return None
    global _actor_class
    if _actor_class is None:
        _actor_class = whipray.remote(Store)
    wanted = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0}
    return _actor_class.options(get_if_exists=True, **wanted).remote()


def _bytes(text: Text | None) -> bytes:
    return b"" if text is None else text.encode() if isinstance(text, str) else text


class GcsClient:
    """The part of Ray's client of the control service that is a key-value store."""

    def __init__(self, address: str = "", **kwargs: Any) -> None:
        self.address = address

    def internal_kv_get(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bytes | None:
        """The value of the key, or None."""
        return get(key, namespace)

    def internal_kv_put(
        self,
        key: Text,
        value: Text,
        overwrite: bool = True,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """Set a value; 1 if the key is new."""
        return int(not put(key, value, overwrite, namespace))

    def internal_kv_del(
        self,
        key: Text,
        del_by_prefix: bool = False,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """How many keys were deleted."""
        return delete(key, del_by_prefix, namespace)

    def internal_kv_exists(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bool:
        """Whether the key has a value."""
        return get(key, namespace) is not None

    def internal_kv_keys(
        self, prefix: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> list[bytes]:
        """The keys that begin so."""
        return keys(prefix, namespace)
