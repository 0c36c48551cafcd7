"""Endpoints: where something is, without saying who connects or listens; plain data.

They are what names resolve to and what a flow came from; `endp_to_client` and `endp_to_server`
make addresses of them. What cannot be (a port over 65535, an empty host) is an `AddressError` when
the endpoint is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from . import _fields as kind
from ._fields import IPAddress, Path, Record, check, check_ip_and_port

if TYPE_CHECKING:
    from .channels import Input, Output

__all__ = [
    "TCP",
    "TLS",
    "Endp",
    "Host",
    "TLSTunnel",
    "UnixDomainSocket",
    "Unknown",
    "VchanDirect",
    "VchanDomainSocket",
    "Vsock",
]


@dataclass(frozen=True, slots=True, repr=False)
class TCP(Record):
    """TCP at an IP address.

    ip: an `ipaddress` address, or a str that is one; IPv6 may have a zone (fe80::1%eth0).
    port: 0 to 65535.

    Raises AddressError for a part that cannot be; for a name, use `Host`.
    """

    ip: IPAddress
    port: int

    if TYPE_CHECKING:

        def __init__(self, ip: IPAddress | str, port: int) -> None: ...

    def __post_init__(self) -> None:
        check_ip_and_port(self)


@dataclass(frozen=True, slots=True, repr=False)
class Host(Record):
    """TCP at a name, which is resolved when connecting.

    name: a DNS name, or an IP address as a str.
    port: 0 to 65535; 0 with a name of DNS SRV, such as "_postgresql._tcp.example": what it says.

    Raises AddressError for a part that cannot be.
    """

    name: str
    port: int

    def __post_init__(self) -> None:
        check(self, name=kind.host, port=kind.port)


@dataclass(frozen=True, slots=True, repr=False)
class UnixDomainSocket(Record):
    """A Unix domain socket.

    path: a str or a `pathlib` path. "@NAME" is a name in Linux's abstract namespace; a file
        that is really called so is "./@NAME".

    Raises AddressError for a path that cannot be.
    """

    path: str

    if TYPE_CHECKING:

        def __init__(self, path: Path) -> None: ...

    def __post_init__(self) -> None:
        check(self, path=kind.path)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDirect(Record):
    """A Xen vchan of a domain whose number is known.

    domid: the domain at the other end, 0 or more.
    port: the vchan's name.

    Raises AddressError for a part that cannot be.
    """

    domid: int
    port: str

    def __post_init__(self) -> None:
        check(self, domid=kind.domid, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDomainSocket(Record):
    """A Xen vchan of a domain that is found by its name.

    name: the name that the domain goes by.
    port: the vchan's name.

    Raises AddressError for a part that cannot be.
    """

    name: str
    port: str

    def __post_init__(self) -> None:
        check(self, name=kind.name, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class Vsock(Record):
    """A socket between a virtual machine and its host.

    cid: a context identifier, 0 to 2**32 - 1: 1 is this machine, 2 the host.
    port: 0 to 2**32 - 1.

    Raises AddressError for a part that cannot be.
    """

    cid: int
    port: int

    def __post_init__(self) -> None:
        check(self, cid=kind.cid, port=kind.vsock_port)


@dataclass(frozen=True, slots=True, repr=False)
class TLS(Record):
    """TLS over another endpoint.

    host: the name the peer's certificate must be for: a DNS name, or an IP address as a str.
    endp: the endpoint below.

    Raises AddressError for a part that cannot be.
    """

    host: str
    endp: Endp

    def __post_init__(self) -> None:
        check(self, host=kind.hostname, endp=_endp)

    @property
    def port(self) -> int:
        """The port of the endpoint below. Raises AttributeError where that has none."""
        port: int = getattr(self.endp, "port")  # noqa: B009
        return port


@dataclass(frozen=True, slots=True, repr=False)
class Unknown(Record):
    """What a name that could not be resolved resolves to; it cannot be connected to.

    reason: why, in words.

    Raises AddressError for a reason that is no str, or has a NUL.
    """

    reason: str

    def __post_init__(self) -> None:
        check(self, reason=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class TLSTunnel(Record):
    """TLS over channels that are open already; the flow made of it closes them with itself.

    host: the name the peer's certificate must be for: a DNS name, or an IP address as a str.
    ic: what the peer sends, from a flow or `conduit.testing`.
    oc: what is sent to the peer, of the same flow.

    Raises AddressError for a host that cannot be.
    """

    host: str
    ic: Input
    oc: Output

    def __post_init__(self) -> None:
        check(self, host=kind.hostname)


Endp: TypeAlias = (
    TCP
    | Host
    | UnixDomainSocket
    | VchanDirect
    | VchanDomainSocket
    | Vsock
    | TLS
    | Unknown
    | TLSTunnel
)
"""Any endpoint."""

_endp = kind.address(Endp)
