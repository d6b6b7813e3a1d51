"""Ray's datasets without Ray's files: the names are here, and say what they need.

Libraries import some of these names at their start and use them seldom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

NEEDED = (
    "ray.data.{} runs on Whipray with the files of Ray's own wheel: install ray beside whipray, or "
    "set WHIPRAY_RAY_LIBS to the folder of its package."
)


class Dataset:
    """The type of datasets, of which there are none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(NEEDED.format("Dataset"))


MaterializedDataset = Dataset


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if not name.startswith(("from_", "range", "read_")):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(NEEDED.format(name))

    return refuse
