"""Addresses to connect to: plain data, compared by value.

What cannot be (a port over 65535, an empty host) is an `AddressError` when the address is made.
Nothing here touches the network; `conduit.connect` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from . import _fields as kind
from ._fields import IPAddress, Password, Path, Record, check, check_ip_and_port

if TYPE_CHECKING:
    from .channels import Input, Output

__all__ = [
    "SOCKS5",
    "TCP",
    "TLS",
    "Client",
    "HTTPConnect",
    "Host",
    "OpenSSL",
    "TLSConfig",
    "TLSNative",
    "TLSOver",
    "TLSTunnel",
    "UnixDomainSocket",
    "VchanDirect",
    "VchanDomainSocket",
    "Vsock",
]


@dataclass(frozen=True, slots=True, repr=False)
class _NamedPeer(Record):
    """What the configuration and the three addresses made of it have in common."""

    hostname: str
    ip: IPAddress
    port: int

    if TYPE_CHECKING:

        def __init__(self, hostname: str, ip: IPAddress | str, port: int) -> None: ...

    def __post_init__(self) -> None:
        check(self, hostname=kind.hostname, ip=kind.ip, port=kind.port)


class TLSConfig(_NamedPeer):
    """The parts of a `TLS`, `TLSNative` or `OpenSSL` address; not an address by itself.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    ip: where to connect: an `ipaddress` address, or a str that is one.
    port: where to connect, 0 to 65535.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class _TLS(_NamedPeer):
    __slots__ = ()

    @property
    def config(self) -> TLSConfig:
        """The same parts, whichever TLS stack they are for."""
        return TLSConfig(self.hostname, self.ip, self.port)


class TLS(_TLS):
    """TLS over TCP, by the stack that `tls_library` names.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    ip: where to connect: an `ipaddress` address, or a str that is one.
    port: where to connect, 0 to 65535.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class TLSNative(_TLS):
    """TLS over TCP, by the native stack whatever `tls_library` says.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    ip: where to connect: an `ipaddress` address, or a str that is one.
    port: where to connect, 0 to 65535.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class OpenSSL(_TLS):
    """TLS over TCP, by OpenSSL whatever `tls_library` says.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    ip: where to connect: an `ipaddress` address, or a str that is one.
    port: where to connect, 0 to 65535.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class TLSTunnel(Record):
    """TLS over channels that are open already; the flow made of it closes them with itself.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    ic: what the peer sends, from a flow or `conduit.testing`.
    oc: what is sent to the peer, of the same flow.

    Raises AddressError for a hostname that cannot be.
    """

    hostname: str
    ic: Input
    oc: Output

    def __post_init__(self) -> None:
        check(self, hostname=kind.hostname)


@dataclass(frozen=True, slots=True, repr=False)
class TLSOver(Record):
    """TLS over any other address.

    hostname: the name the peer's certificate must be for: a DNS name, or an IP address as str.
    client: the address to connect to first.

    Raises AddressError for a part that cannot be.
    """

    hostname: str
    client: Client

    def __post_init__(self) -> None:
        check(self, hostname=kind.hostname, client=_client)


@dataclass(frozen=True, slots=True, repr=False)
class TCP(Record):
    """TCP to an IP address.

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
    """TCP to a name, which is resolved when connecting.

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

    file: its path, a str or a `pathlib` path. "@NAME" is a name in Linux's abstract namespace;
        a file that is really called so is "./@NAME".

    Raises AddressError for a path that cannot be. How long one may be depends on the host, which
    says so when connecting.
    """

    file: str

    if TYPE_CHECKING:

        def __init__(self, file: Path) -> None: ...

    def __post_init__(self) -> None:
        # What `check` would do to it is nothing, for most; programs make one for each connection.
        if type(self.file) is not str or "\0" in self.file:
            check(self, file=kind.path)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDirect(Record):
    """A Xen vchan of a domain whose number is known.

    domid: the server's domain, 0 or more.
    port: the vchan's name there.

    Raises AddressError for a part that cannot be.
    """

    domid: int
    port: str

    def __post_init__(self) -> None:
        check(self, domid=kind.domid, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDomainSocket(Record):
    """A Xen vchan of a domain that is found by its name.

    domain_name: the name that the server's domain goes by.
    port: the vchan's name there.

    Raises AddressError for a part that cannot be.
    """

    domain_name: str
    port: str

    def __post_init__(self) -> None:
        check(self, domain_name=kind.name, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class Vsock(Record):
    """A socket between a virtual machine and its host.

    cid: the peer's context identifier, 0 to 2**32 - 1: 1 is this machine, 2 the host.
    port: 0 to 2**32 - 1.

    Raises AddressError for a part that cannot be.
    """

    cid: int
    port: int

    def __post_init__(self) -> None:
        check(self, cid=kind.cid, port=kind.vsock_port)


@dataclass(frozen=True, slots=True, repr=False)
class _Proxied(Record):
    """What the two kinds of proxies have in common."""

    host: str
    port: int
    proxy: Client
    login: Password | None = None

    def __post_init__(self) -> None:
        check(self, host=kind.far_host, port=kind.port, proxy=_client, login=kind.login)


class SOCKS5(_Proxied):
    """TCP to a host, by way of a SOCKS5 proxy (RFC 1928), which looks up its name.

    host: a DNS name, or an IP address as a str.
    port: 0 to 65535.
    proxy: how to connect to the proxy: any address, of another proxy as well.
    login: a function of one bool that returns "USER:PASSWORD" (RFC 1929), which is called in a
        thread each time; `conduit.text.PasswordFromEnv` and `PasswordFromFile` are such (default:
        None, no login).

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class HTTPConnect(_Proxied):
    """TCP to a host, by the CONNECT method of an HTTP proxy (RFC 9110), which looks up its name.

    host: a DNS name, or an IP address as a str.
    port: 0 to 65535.
    proxy: how to connect to the proxy: any address, of another proxy as well.
    login: a function of one bool that returns "USER:PASSWORD" (RFC 7617), which is called in a
        thread each time; `conduit.text.PasswordFromEnv` and `PasswordFromFile` are such (default:
        None, no login).

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


Client: TypeAlias = (
    TLS
    | TLSNative
    | OpenSSL
    | TLSTunnel
    | TLSOver
    | SOCKS5
    | HTTPConnect
    | TCP
    | Host
    | UnixDomainSocket
    | VchanDirect
    | VchanDomainSocket
    | Vsock
)
"""Any address to connect to."""

_client = kind.address(Client)
