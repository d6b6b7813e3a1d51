"""Ray's client (`ray://`), which no driver uses here."""

from __future__ import annotations

from typing import Any


class ClientAPI:
    """`ray.util.client.ray`: answers whether a client is connected."""

    def is_connected(self) -> bool:
        """False: this process is in the session itself."""
        return False

    def __getattr__(self, name: str) -> Any:
        import whipray

        return getattr(whipray, name)


ray = ClientAPI()


def num_connected_contexts() -> int:
    """0."""
    return 0
