"""`ray.util.tracing`: spans of OpenTelemetry, which nothing here writes."""

from __future__ import annotations
