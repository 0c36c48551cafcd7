"""The native stack: TLS without OpenSSL's state machine, by `conduit-net[native]`.

    connection   the handshake: tlslite-ng's state machine, and the checks that it lacks
    established  what comes after it: records, alerts, updates of keys
    judging      whether a peer is trusted, by `cryptography.x509.verification`
    primitives   every operation on keys, by `cryptography`
    tlslite_copy the copy of the library that is changed, and what is changed in it

Two independent stacks check each other in the tests, and a deployment may choose: a hole in the one
is not in the other. This one has no session resumption and no early data.
"""

from __future__ import annotations

from ..engine import ClientSettings, ServerSettings
from .credentials import Client, Server

__all__ = ["load_client", "load_server"]


def load_client(settings: ClientSettings) -> Client:
    """As of every stack."""
    return Client(settings)


def load_server(settings: ServerSettings) -> Server:
    """As of every stack."""
    return Server(settings)
