"""What is in the session: actors, tasks, objects, processes, jobs; as lists and as summaries."""

from __future__ import annotations

from whipray.util.state import api
from whipray.util.state.api import *  # noqa: F403 - all that it names

__all__ = api.__all__
