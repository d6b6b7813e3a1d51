"""Names of kinds of accelerators, for `accelerator_type=`."""

from __future__ import annotations

from whipray.util.accelerators.accelerators import *  # noqa: F403
