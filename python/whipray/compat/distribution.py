"""What importlib.metadata says about the distribution `ray`."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.metadata import PackagePath
from pathlib import Path

from whipray.compat import VERSION
from whipray.compat.finder import OWN

EXTRAS = ("air", "client", "data", "default", "serve", "train", "tune")
TEXT = "".join(
    (
        "Metadata-Version: 2.1\n",
        "Name: ray\n",
        f"Version: {VERSION}\n",
        "Summary: The name of Ray, served by Whipray\n",
        "Requires-Dist: whipray\n",
        *(f"Provides-Extra: {extra}\n" for extra in EXTRAS),
    )
)


class Distribution(metadata.Distribution):
    """A distribution without files of its own."""

    def read_text(self, filename: str) -> str | None:
        """The metadata; there are no other files."""
        return {"METADATA": TEXT, "top_level.txt": "ray\n"}.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Where a file of the package lies."""
        return Path(OWN).parent / path

    @property
    def files(self) -> list[PackagePath] | None:
        """No list of files was recorded."""
        return None
