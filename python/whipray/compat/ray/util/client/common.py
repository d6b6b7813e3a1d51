"""Types of Ray's client, of which there are no instances."""

from __future__ import annotations


class ClientBaseRef:
    """A reference held by a client."""


class ClientObjectRef(ClientBaseRef):
    """An object reference held by a client."""


class ClientActorRef(ClientBaseRef):
    """An actor reference held by a client."""


class ClientActorHandle:
    """An actor handle of a client."""
