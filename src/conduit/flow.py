"""Flows: what `connect` returns and a handler gets beside the channels; plain data.

They say whom a connection is with. The library makes them, one for each connection, so they are
not checked as addresses are. Each has an `origin`, the endpoint it came from, which is neither
compared nor printed; `endp_of_flow` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ._fields import IPAddress, Record

if TYPE_CHECKING:
    from .channels import Input, Output
    from .endp import Endp

__all__ = ["TCP", "DomainSocket", "Flow", "Tunnel", "Vchan", "Vsock"]


@dataclass(frozen=True, slots=True, repr=False)
class TCP(Record):
    """A TCP connection, also one that carries TLS.

    fd: its descriptor while it is open. The channels own it: do not close it.
    ip: the peer's address.
    port: the peer's port.
    origin: the endpoint it came from, by default None.
    """

    fd: int
    ip: IPAddress
    port: int
    origin: Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Tunnel(Record):
    """A TLS connection over channels that were open already; closing it closes them.

    hostname: the name the peer's certificate was checked against.
    ic: what came from the peer below TLS.
    oc: what went to the peer below TLS.
    origin: the endpoint it came from, by default None.
    """

    hostname: str
    ic: Input
    oc: Output
    origin: Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class DomainSocket(Record):
    """A connection over a Unix domain socket.

    fd: its descriptor while it is open. The channels own it: do not close it.
    path: the path connected to or listened on, "@NAME" in the abstract namespace, and empty
        for a socket without a name.
    origin: the endpoint it came from, by default None.
    """

    fd: int
    path: str
    origin: Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Vchan(Record):
    """A connection over a Xen vchan.

    domid: the peer's domain.
    port: the vchan's name.
    origin: the endpoint it came from, by default None.
    """

    domid: int
    port: str
    origin: Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Vsock(Record):
    """A connection between a virtual machine and its host.

    cid: the peer's context identifier.
    port: the peer's port, 0 to 2**32 - 1.
    origin: the endpoint it came from, by default None.
    """

    cid: int
    port: int
    origin: Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


Flow: TypeAlias = TCP | Tunnel | DomainSocket | Vchan | Vsock
"""Any flow."""
