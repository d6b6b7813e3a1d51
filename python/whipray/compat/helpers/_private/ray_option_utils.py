"""The former place of `ray._common.ray_option_utils`."""

from __future__ import annotations

from ray._common.ray_option_utils import *  # noqa: F403
