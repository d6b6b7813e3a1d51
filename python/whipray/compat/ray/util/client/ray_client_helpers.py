"""Sessions reached through Ray's client, as its microbenchmark starts them: here the program that
would be the client is a driver of the session itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import ClientAPI, ray


@contextmanager
def ray_start_client_server(
    metadata: Any = None, ray_connect_handler: Callable[..., Any] | None = None, **kwargs: Any
) -> Iterator[ClientAPI]:
    """A session for the block, started by the handler if there is one; the block gets the API.

    Args:
        metadata: of a connection: not used.
        ray_connect_handler: calls `init()`.
        kwargs: of a connection: not used.
    """
    with ray_start_client_server_pair(metadata, ray_connect_handler, **kwargs) as (client, _):
        yield client


@contextmanager
def ray_start_client_server_for_address(address: str) -> Iterator[ClientAPI]:
    """The same, in the session that lives at the address."""
    with ray_start_client_server(ray_connect_handler=lambda: ray.init(address)) as client:
        yield client


@contextmanager
def ray_start_client_server_pair(
    metadata: Any = None, ray_connect_handler: Callable[..., Any] | None = None, **kwargs: Any
) -> Iterator[tuple[ClientAPI, None]]:
    """The same, with the server: there is none."""
    if ray.is_initialized():
        raise RuntimeError("this process is in a session already: call shutdown() first")
    (ray_connect_handler or ray.init)()
    try:
        yield ray, None
    finally:
        ray.shutdown()
