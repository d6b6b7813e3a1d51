"""Addresses and ports of this machine."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing


def find_free_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    """A TCP port that nobody listens on at the moment."""
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def is_ipv6(host: str) -> bool:
    """Whether the text is an IPv6 address."""
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def is_localhost(host: str) -> bool:
    """Whether the host is this machine for itself."""
    return host in ("localhost", "127.0.0.1", "::1")


def build_address(host: str, port: int | str) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"


def parse_address(address: str) -> tuple[str, str] | None:
    """(host, port) of host:port; None if there is no port."""
    host, colon, port = address.rpartition(":")
    return (host.strip("[]"), port) if colon and host else None


def get_localhost_ip() -> str:
    """Address of this machine for itself."""
    return "127.0.0.1"


def get_all_interfaces_ip() -> str:
    """The address that stands for all addresses of this machine."""
    return "0.0.0.0"


def node_ip_address_from_perspective(address: str = "") -> str:
    """Address of this node."""
    from whipray._private import state

    return state.node_ip()
