"""`ray.util.connect`: the older way to connect to a real Ray."""

from __future__ import annotations

from typing import Any

from whipray._private import worker

__all__ = ["connect", "disconnect"]


def connect(
    conn_str: str,
    secure: bool = False,
    metadata: list[tuple[str, str]] | None = None,
    connection_retries: int = 3,
    job_config: Any = None,
    namespace: str | None = None,
    *,
    ignore_version: bool = False,
    _credentials: Any = None,
    ray_init_kwargs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`init("ray://" + conn_str)`: a real Ray takes over; returns the versions on the other side.

    What concerns the connection itself is that Ray's own business and is not handed on.
    """
    given = {"job_config": job_config, "namespace": namespace, **(ray_init_kwargs or {})}
    context = worker.init(f"ray://{conn_str.removeprefix('ray://')}", **given)
    return {name: getattr(context, name) for name in ("python_version", "ray_version")}


def disconnect() -> None:
    """End the connection that `connect` has made; nothing without one."""
    if worker.state.other is not None:
        import whipray

        whipray.shutdown()
