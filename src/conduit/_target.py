"""What `connect` and `serve` may be given, turned into what a transport takes."""

from __future__ import annotations

from . import client, endp, server
from .context import Context
from .convert import endp_to_client, endp_to_server
from .errors import AddressError

_HINT = "this version of conduit does not read addresses as text yet"


def to_client(target: client.Client | endp.Endp | str, ctx: Context) -> client.Client:
    """Where to connect. Raises AddressError for no address, ResolutionError for Unknown."""
    if isinstance(target, str):
        raise AddressError(f"{target!r}: {_HINT}; use a value of conduit.client")
    if isinstance(target, endp.Endp):
        return endp_to_client(target, ctx=ctx)
    if type(target).__module__ == server.__name__:
        raise AddressError(
            f"{target!r} is a way to serve; to connect use a value of conduit.client"
        )
    return target


def to_server(mode: server.Mode | endp.Endp | str, ctx: Context) -> server.Mode:
    """How to be reached. Raises AddressError for what is no way to serve."""
    if isinstance(mode, str):
        raise AddressError(f"{mode!r}: {_HINT}; use a value of conduit.server")
    if isinstance(mode, endp.Endp):
        return endp_to_server(mode, ctx=ctx)
    if type(mode).__module__ == client.__name__:
        raise AddressError(f"{mode!r} is where to connect; to serve use a value of conduit.server")
    return mode
