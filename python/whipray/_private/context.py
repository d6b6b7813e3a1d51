"""What init returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from whipray import _core
from whipray._private.machine import NODE_IP


class RayContext(Mapping[str, Any]):
    """Facts about the session; `with init(): ...` shuts it down at the end of the block."""

    dashboard_url = ""
    ray_version = "2.60.0"
    ray_commit = ""
    protocol_version = None

    def __init__(self, info: dict[str, Any]) -> None:
        from whipray import __version__
        from whipray._private.ids import node_id_of

        version = sys.version_info
        self.python_version = f"{version.major}.{version.minor}.{version.micro}"
        self.whipray_version = __version__
        self._epoch = _core.epoch()
        session_dir = str(info.get("session_dir", ""))
        self._socket = os.path.join(session_dir, "sock") if session_dir else ""
        self.address_info: dict[str, Any] = {
            "node_ip_address": NODE_IP,
            "node_id": node_id_of(str(info.get("session", ""))).hex(),
            "session_dir": session_dir,
            "session_name": session_dir.rstrip("/").rpartition("/")[2],
            "address": f"unix:{self._socket}",
            "gcs_address": f"unix:{self._socket}",
            "object_store_address": "",
            "raylet_socket_name": "",
            "webui_url": "",
            "dashboard_url": "",
        }

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __enter__(self) -> RayContext:
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """End the session, if it is still the open one."""
        from whipray._private import worker

        if _core.epoch() == self._epoch:
            worker.shutdown()

    def _facts(self) -> dict[str, str]:
        return {
            "dashboard_url": self.dashboard_url,
            "python_version": self.python_version,
            "ray_version": self.ray_version,
        }

    def __repr__(self) -> str:
        inner = ", ".join(f"{key}={value!r}" for key, value in self._facts().items())
        return f"RayContext({inner})"

    def _repr_html_(self) -> str:
        from html import escape

        facts = {"Whipray version": self.whipray_version, "Python version": self.python_version}
        facts["Session"] = self.address_info["session_dir"]
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(key)}</th><td>{escape(value)}</td></tr>"
            for key, value in facts.items()
        )
        return f"<table>{rows}</table>"
