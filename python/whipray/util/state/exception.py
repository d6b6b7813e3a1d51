"""Errors of the state API."""

from __future__ import annotations


class RayStateApiException(Exception):
    """The state could not be read."""


class ServerUnavailable(RayStateApiException):
    """For programs that catch it; there is no server that could be unavailable."""


class DataSourceUnavailable(Exception):
    """For programs that catch it; what is asked is this process's own session."""
