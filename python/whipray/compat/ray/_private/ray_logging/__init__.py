"""`ray._private.ray_logging`: where Ray defines `LoggingConfig`."""

from __future__ import annotations

import logging

from whipray._private.log_dedup import _VARYING as NUMBERS
from whipray.compat.facade import show

__all__ = ["NUMBERS", "setup_logger"]


def setup_logger(logging_level: int | str, logging_format: str) -> None:
    """Level of the logger `ray`, and the format of its handlers unless that is empty."""
    logger = logging.getLogger("ray")
    logger.setLevel(logging_level.upper() if isinstance(logging_level, str) else logging_level)
    for handler in logger.handlers if logging_format else ():
        handler.setFormatter(logging.Formatter(logging_format))


show(__name__)
