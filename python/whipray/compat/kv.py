"""Ray's client of its control service, as far as it is a key-value store."""

from __future__ import annotations

from whipray.experimental import internal_kv as kv

Text = str | bytes


class GcsClient:
    """The part of Ray's client of the control service that is a key-value store."""

    def __init__(self, address: str = "", **kwargs: object) -> None:
        self.address = address

    def internal_kv_get(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bytes | None:
        """The value of the key, or None."""
        return kv._internal_kv_get(key, namespace=namespace)

    def internal_kv_put(
        self,
        key: Text,
        value: Text,
        overwrite: bool = True,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """Set a value; 1 if the key is new."""
        return int(not kv._internal_kv_put(key, value, overwrite, namespace=namespace))

    def internal_kv_del(
        self,
        key: Text,
        del_by_prefix: bool = False,
        namespace: Text | None = None,
        timeout: float | None = None,
    ) -> int:
        """How many keys were deleted."""
        return kv._internal_kv_del(key, del_by_prefix=del_by_prefix, namespace=namespace)

    def internal_kv_exists(
        self, key: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> bool:
        """Whether the key has a value."""
        return kv._internal_kv_exists(key, namespace=namespace)

    def internal_kv_keys(
        self, prefix: Text, namespace: Text | None = None, timeout: float | None = None
    ) -> list[bytes]:
        """The keys that begin so."""
        return kv._internal_kv_list(prefix, namespace=namespace)
