"""Addresses to listen on: plain data, compared by value.

What cannot be (a port over 65535, a path with a NUL) is an `AddressError` when the address is made.
Nothing here touches the network or reads a file; `conduit.serve` does. No `repr` shows a password,
nor the function that knows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from . import _fields as kind
from ._fields import IPAddress, Password, Path, Record, check
from .errors import AddressError

if TYPE_CHECKING:
    import socket

__all__ = [
    "TCP",
    "TLS",
    "Handover",
    "Launchd",
    "ListeningSocket",
    "Mode",
    "OpenSSL",
    "Password",
    "Port",
    "Socket",
    "Systemd",
    "TLSConfig",
    "TLSNative",
    "TLSOver",
    "UnixDomainSocket",
    "VchanDirect",
    "VchanDomainSocket",
    "Vsock",
]


@dataclass(frozen=True, slots=True, repr=False)
class Port(Record):
    """A TCP port to listen on, as a part of `TCP`.

    port: 0 to 65535; 0 lets the system choose.

    Raises AddressError for a port that cannot be.
    """

    port: int

    def __post_init__(self) -> None:
        check(self, port=kind.port)

    def _repr_inside(self) -> str:
        return str(self.port)  # as it is usually written: server.TCP(8080)


@dataclass(frozen=True, slots=True, repr=False)
class Socket(Record):
    """A TCP socket to listen on, as a part of `TCP`; the server owns it and closes it.

    sock_or_fd: a `socket.socket`, or the number of its descriptor. If it does not listen yet,
        it must be bound.

    Raises AddressError for anything else.
    """

    sock_or_fd: socket.socket | int

    def __post_init__(self) -> None:
        check(self, sock_or_fd=_sock_or_fd)


@dataclass(frozen=True, slots=True, repr=False)
class TCP(Record):
    """TCP on a port of all addresses or of one, or on a socket that exists already.

    config: a `Port` or a `Socket`; an int from 0 to 65535 becomes a `Port`.
    ip: the address to listen on: an `ipaddress` address, or a str that is one. None, the
        default, is the context's `src` if it has one, else all addresses.

    Raises AddressError for a part that cannot be, or an `ip` for a socket, which has its own.
    """

    config: Port | Socket
    ip: IPAddress | None = field(default=None, kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self, config: Port | Socket | int, *, ip: IPAddress | str | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        check(self, config=_config, ip=kind.ip_or_none)
        if self.ip is not None and isinstance(self.config, Socket):
            raise AddressError("server.TCP: a Socket has its own address, so it takes no ip")


@dataclass(frozen=True, slots=True, repr=False)
class TLSConfig(Record):
    """The parts of a `TLS`, `TLSNative` or `OpenSSL` address; not an address by itself.

    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None, or a function of one bool that returns the key's password as a str, called
        in a thread.
    port: the TCP port, 0 to 65535; 0 lets the system choose.

    Raises AddressError for a part that cannot be.
    """

    crt_file: str
    key_file: str
    password: Password | None
    port: int

    if TYPE_CHECKING:

        def __init__(
            self, crt_file: Path, key_file: Path, password: Password | None, port: int
        ) -> None: ...

    def __post_init__(self) -> None:
        check(
            self,
            crt_file=kind.file,
            key_file=kind.file,
            password=kind.password,
            port=kind.port,
        )


@dataclass(frozen=True, slots=True, repr=False)
class _TLS(Record):
    """What the three TLS addresses have in common."""

    crt_file: str
    key_file: str
    password: Password | None
    port: int
    ip: IPAddress | None = field(default=None, kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            crt_file: Path,
            key_file: Path,
            password: Password | None,
            port: int,
            *,
            ip: IPAddress | str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check(
            self,
            crt_file=kind.file,
            key_file=kind.file,
            password=kind.password,
            port=kind.port,
            ip=kind.ip_or_none,
        )

    @property
    def config(self) -> TLSConfig:
        """The same parts, whichever TLS stack they are for and without the `ip`."""
        return TLSConfig(self.crt_file, self.key_file, self.password, self.port)


class TLS(_TLS):
    """TLS over TCP, by the stack that `tls_library` names.

    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None, or a function of one bool that returns the key's password as a str, called
        in a thread.
    port: the TCP port, 0 to 65535; 0 lets the system choose.
    ip: the address to listen on: an `ipaddress` address, or a str that is one. None, the
        default, is the context's `src` if it has one, else all addresses.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class TLSNative(_TLS):
    """TLS over TCP, by the native stack whatever `tls_library` says.

    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None, or a function of one bool that returns the key's password as a str, called
        in a thread.
    port: the TCP port, 0 to 65535; 0 lets the system choose.
    ip: the address to listen on: an `ipaddress` address, or a str that is one. None, the
        default, is the context's `src` if it has one, else all addresses.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


class OpenSSL(_TLS):
    """TLS over TCP, by OpenSSL whatever `tls_library` says.

    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None, or a function of one bool that returns the key's password as a str, called
        in a thread.
    port: the TCP port, 0 to 65535; 0 lets the system choose.
    ip: the address to listen on: an `ipaddress` address, or a str that is one. None, the
        default, is the context's `src` if it has one, else all addresses.

    Raises AddressError for a part that cannot be.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class TLSOver(Record):
    """TLS over any other address to listen on.

    mode: the address below.
    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None (the default), or a function of one bool that returns the key's password as
        a str, called in a thread.

    Raises AddressError for a part that cannot be.
    """

    mode: Mode
    crt_file: str
    key_file: str
    password: Password | None = None

    if TYPE_CHECKING:

        def __init__(
            self, mode: Mode, crt_file: Path, key_file: Path, password: Password | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        check(
            self,
            mode=_mode,
            crt_file=kind.file,
            key_file=kind.file,
            password=kind.password,
        )


@dataclass(frozen=True, slots=True, repr=False)
class UnixDomainSocket(Record):
    """A Unix domain socket, made by the server and unlinked by it.

    file: its path, a str or a `pathlib` path. "@NAME" is a name in Linux's abstract namespace;
        a file that is really called so is "./@NAME".

    Raises AddressError for a path that cannot be. How long one may be depends on the host, which
    says so when listening.
    """

    file: str

    if TYPE_CHECKING:

        def __init__(self, file: Path) -> None: ...

    def __post_init__(self) -> None:
        check(self, file=kind.path)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDirect(Record):
    """A Xen vchan for one domain, whose number is known.

    domid: the client's domain, 0 or more.
    port: the vchan's name here.

    Raises AddressError for a part that cannot be.
    """

    domid: int
    port: str

    def __post_init__(self) -> None:
        check(self, domid=kind.domid, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class VchanDomainSocket(Record):
    """A Xen vchan that clients find by the name of this domain.

    domain: the name that this domain goes by.
    port: the vchan's name here.

    Raises AddressError for a part that cannot be.
    """

    domain: str
    port: str

    def __post_init__(self) -> None:
        check(self, domain=kind.name, port=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class Vsock(Record):
    """A socket between a virtual machine and its host.

    cid: the context identifier to listen on, 0 to 2**32 - 1; 2**32 - 1 is any of this machine.
    port: 0 to 2**32 - 1; 2**32 - 1 lets the system choose.

    Raises AddressError for a part that cannot be.
    """

    cid: int
    port: int

    def __post_init__(self) -> None:
        check(self, cid=kind.cid, port=kind.vsock_port)


@dataclass(frozen=True, slots=True, repr=False)
class Launchd(Record):
    """The sockets that macOS's launchd holds for this program under a name.

    name: the key in the `Sockets` of the service's property list.

    Raises AddressError for a name that cannot be.
    """

    name: str

    def __post_init__(self) -> None:
        check(self, name=kind.name)


@dataclass(frozen=True, slots=True, repr=False)
class Systemd(Record):
    """The sockets that systemd handed to this program.

    name: the `FileDescriptorName=` of the socket unit; None, the default, is all sockets.

    Raises AddressError for a name that cannot be.
    """

    name: str | None = None

    def __post_init__(self) -> None:
        check(self, name=kind.systemd_name)


@dataclass(frozen=True, slots=True, repr=False)
class Handover(Record):
    """The sockets that the process before this one listens on; it stops when this one is ready.

    path: of the Unix socket where they are handed over, a str or a `pathlib` path. "@NAME" is a
        name in Linux's abstract namespace. The server offers its own sockets there in turn.
    otherwise: how to be reached where there is no process before this one; None, the default, makes
        that an error. TLS is put over a Handover, and never below it.

    Raises AddressError for a part that cannot be.
    """

    path: str
    otherwise: Mode | None = None

    if TYPE_CHECKING:

        def __init__(self, path: Path, otherwise: Mode | None = None) -> None: ...

    def __post_init__(self) -> None:
        check(self, path=kind.path, otherwise=_otherwise)


@dataclass(frozen=True, slots=True, repr=False)
class ListeningSocket(Record):
    """A socket of any kind that listens already; the server owns it, closes it, never unlinks it.

    fd: the number of its descriptor, 0 or more.

    Raises AddressError for a number that cannot be, or for a socket object, which gives its
    descriptor away by its `detach()`.
    """

    fd: int

    def __post_init__(self) -> None:
        check(self, fd=kind.fd)


Mode: TypeAlias = (
    TCP
    | TLS
    | TLSNative
    | OpenSSL
    | TLSOver
    | UnixDomainSocket
    | VchanDirect
    | VchanDomainSocket
    | Vsock
    | Launchd
    | Systemd
    | Handover
    | ListeningSocket
)
"""Any address to listen on."""

_mode = kind.address(Mode)


def _otherwise(value: object, where: kind.Where) -> object:
    if value is None:
        return None
    if isinstance(value, (_TLS, TLSOver)):
        raise kind.refusal(where, "has TLS: put it over the Handover, by server.TLSOver")
    if isinstance(value, (Handover, VchanDirect, VchanDomainSocket)):
        raise kind.refusal(where, "must listen on sockets, which alone can be handed over")
    return _mode(value, where)


def _config(value: object, where: kind.Where) -> Port | Socket:
    if isinstance(value, (Port, Socket)):
        return value
    if hasattr(value, "fileno"):
        raise kind.refusal(where, "must be a Port or a Socket: use server.Socket(sock)")
    return Port(kind.port(value, (where[0], "port")))


def _sock_or_fd(value: object, where: kind.Where) -> object:
    # A socket is told by what it has, so that plain data does not import the socket module.
    return value if hasattr(value, "fileno") else kind.fd(value, where)
