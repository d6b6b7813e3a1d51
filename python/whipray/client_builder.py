"""The older way to connect: `client(address).env(...).namespace(...).connect()`."""

from __future__ import annotations

import warnings
from typing import Any

from whipray._private import machine, worker

__all__ = ["ClientBuilder", "client"]


class ClientBuilder:
    """Collects what `init` is to be given."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._given: dict[str, Any] = {}

    def env(self, env: dict[str, Any]) -> ClientBuilder:
        """Set the runtime environment."""
        self._given["runtime_env"] = env
        return self

    def namespace(self, namespace: str) -> ClientBuilder:
        """Set the namespace."""
        self._given["namespace"] = namespace
        return self

    def connect(self) -> Any:
        """Call `init`, and return its context."""
        warnings.warn(
            "ray.client(...).connect() is deprecated: call ray.init(address, ...) instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return worker.init(self.address, **self._given)


def client(address: str | None = None, _deprecation_warn_enabled: bool = True) -> ClientBuilder:
    """A builder for this address: None, "local", "auto", that of a session, or one of a real Ray.

    "host:port" means "ray://host:port", where a real Ray takes over, see `init`.
    """
    wanted = address or machine.address_from_environment()
    if wanted and wanted.startswith(("http://", "https://")):
        raise ValueError(f"Invalid Ray address: {wanted!r}: a page is no session to connect to.")
    ours = wanted in (None, "local", "auto") or str(wanted).startswith(("/", "unix:", "ray:"))
    return ClientBuilder(wanted if ours else f"ray://{wanted}")
