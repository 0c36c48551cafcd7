"""The ways to reach a peer: which module carries which address.

A new transport is one file here and one line in `_TABLE`. Another package adds its own by an entry
point in the group `conduit.transports`, named by the full name of the address class
(`acme.addresses.Carrier`), whose value is the module with `connect` and `listen`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import Any, cast

from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from .base import (
    Arrival,
    Attempts,
    Listener,
    ListenOptions,
    Reloadable,
    Shared,
    Transport,
    Triple,
)

__all__ = [
    "Arrival",
    "Attempts",
    "ListenOptions",
    "Listener",
    "Reloadable",
    "Shared",
    "Transport",
    "Triple",
    "connect",
    "listen",
]

# By the name of the class, which is the same in `client`, `server` and `endp`.
_TABLE = {
    "TCP": "conduit.transports.tcp",
    "Host": "conduit.transports.tcp",
    "UnixDomainSocket": "conduit.transports.unix",
    "ListeningSocket": "conduit.transports.inherited",
    "Vsock": "conduit.transports.vsock",
    "Systemd": "conduit.transports.systemd",
    "Launchd": "conduit.transports.launchd",
    "Handover": "conduit.transports.handover",
    "Several": "conduit.transports.several",
    "SOCKS5": "conduit.transports.proxied",
    "HTTPConnect": "conduit.transports.proxied",
    "VchanDirect": "conduit.transports.vchan",
    "VchanDomainSocket": "conduit.transports.vchan",
    **dict.fromkeys(
        ("TLS", "OpenSSL", "TLSNative", "TLSOver", "TLSTunnel"), "conduit.transports.tls"
    ),
}

_ADDRESS_MODULES = ("conduit.client", "conduit.server", "conduit.transports.several")

_known: dict[type, Transport] = {}


def register(address: type, transport: Transport) -> None:
    """Let `transport` (a module, or an object with `connect` and `listen`) carry an address class.

    address: the class whose values `connect` or `serve` will be given. A second call replaces the
    first.
    """
    _known[address] = transport


def connect(target: object, ctx: Context, attempts: Attempts) -> Coroutine[Any, Any, Triple]:
    """Connect by the transport of `target`. Raises UnsupportedTransport where there is none."""
    transport = _known.get(type(target))
    if transport is None:
        return _connect_first(target, ctx, attempts)
    return transport.connect(target, ctx, attempts)


async def _connect_first(target: object, ctx: Context, attempts: Attempts) -> Triple:
    transport = await _find(type(target), target)
    return await transport.connect(target, ctx, attempts)


async def listen(mode: object, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Listen by the transport of `mode`. Raises UnsupportedTransport where there is none."""
    transport = _known.get(type(mode)) or await _find(type(mode), mode)
    return await transport.listen(mode, ctx, options)


async def _find(kind: type, address: object) -> Transport:
    if kind.__module__ in _ADDRESS_MODULES:
        transport = _built_in(kind.__name__, address)
    else:
        # In a thread: it reads the metadata of every package there is.
        transport = await asyncio.to_thread(_plugged_in, kind, address)
    _known[kind] = transport
    return transport


def _built_in(name: str, address: object) -> Transport:
    if name not in _TABLE:
        raise AddressError(f"{address!r} is a part of an address, no address by itself")
    return cast("Transport", import_module(_TABLE[name]))


def _plugged_in(kind: type, address: object) -> Transport:
    from importlib.metadata import entry_points

    name = f"{kind.__module__}.{kind.__qualname__}"
    for entry in entry_points(group="conduit.transports", name=name):
        return cast("Transport", entry.load())
    raise UnsupportedTransport(
        f"{address!r} is no address: no transport carries a {name}. Use a value of conduit.client, "
        "conduit.server or conduit.endp"
    )
