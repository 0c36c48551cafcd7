"""What a TLS stack must offer: an engine, which turns bytes into bytes.

An engine knows of no socket, no clock and no loop. The layer gives it what came from the peer and
sends what it has to say; so it stands over anything that carries bytes.

    engine.receive(data)     ciphertext from the peer
    engine.handshake()       go on with the handshake; True once it is done
    engine.read()            what the peer said in it, decrypted
    engine.write(data)       say this to the peer, encrypted
    engine.close_notify()    say that nothing more will be said
    engine.to_send()         ciphertext for the peer; after each of the calls above

A stack makes engines from settings: `ClientSettings` for one connection after another,
`ServerSettings` for a server, whose `ServerCredentials` can be loaded again while it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from ..errors import TLSError
from .facts import Facts
from .keys import OwnKey
from .trust import Trust

if TYPE_CHECKING:
    import ssl

ClientAuth: TypeAlias = Literal["none", "optional", "required"]
"""Whether a server asks its clients for a certificate, and whether one must be shown."""


class Engine(ABC):
    """One end of one TLS connection. When a method has raised, only `to_send` may be called."""

    __slots__ = ("ended", "failure")

    def __init__(self) -> None:
        self.ended = False
        """Whether the peer has said close_notify: what was read before it is all there is."""
        self.failure: TLSError | None = None
        """What `read` failed with after the data that it has returned."""

    @abstractmethod
    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take ciphertext from the peer; nothing is decrypted yet."""

    @abstractmethod
    def handshake(self) -> bool:
        """Go on with the handshake as far as what was received allows; True once it is done.

        Raises CertificateError for a peer that is not trusted, TLSError for all else that ends a
        handshake; an alert that tells the peer may be left to send.
        """

    @abstractmethod
    def read(self) -> bytes:
        """Decrypt all that was received; `b""` if there is nothing complete.

        Sets `ended` at the peer's close_notify; what comes after it is ignored. Raises TLSError for
        a record that is none and for the peer's alert; with data before them it sets `failure`
        instead, so that the data is not lost.
        """

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt. Raises TLSError."""

    @abstractmethod
    def close_notify(self) -> None:
        """Say that this side has said all; reading goes on. A second call does nothing."""

    @abstractmethod
    def to_send(self) -> bytes:
        """The ciphertext that is to go to the peer now; each byte is given once."""

    @abstractmethod
    def facts(self) -> Facts:
        """What was agreed on, and who the peer is. After the handshake."""

    def extra(self, name: str) -> Any:
        """What asyncio's transports call so and only one stack has; None for what it has not."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How to connect by TLS, whatever the name of the peer.

    trust: who is trusted; None for the operating system's anchors. own_key: what to show if asked.
    alpn: protocols to offer. check_hostname, check_ip: whether the peer's certificate must be for
    the name, or for the IP address, that was asked for. ssl_ctx: the caller's own context instead
    of `trust`; only OpenSSL knows what to do with it. key_log: a file for the session's secrets.
    """

    trust: Trust | None = None
    own_key: OwnKey | None = None
    alpn: tuple[str, ...] = ()
    check_hostname: bool = True
    check_ip: bool = True
    ssl_ctx: ssl.SSLContext | None = None
    key_log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to serve by TLS.

    keys: certificates with their keys; the first is shown to clients that ask for no name of
    another. alpn: protocols, the preferred one first. client_auth: whether clients must show a
    certificate, and trust: whose are accepted. key_log: a file for the sessions' secrets.
    """

    keys: tuple[OwnKey, ...]
    trust: Trust | None = None
    alpn: tuple[str, ...] = ()
    client_auth: ClientAuth = "none"
    key_log: str | None = None


class ClientCredentials(Protocol):
    """What a stack has loaded from `ClientSettings`; makes the engines of connections."""

    def engine(self, hostname: str, session: object) -> Engine:
        """An engine for one connection.

        hostname: whom the peer must be, a DNS name in ASCII or an IP address. session: what sets
        this peer apart from others of the same name, for resumption; None for no resumption.
        """
        ...


class ServerCredentials(Protocol):
    """What a stack has loaded from `ServerSettings`; makes the engines of clients."""

    names: Sequence[str]
    """The names that the first certificate is for."""

    def engine(self) -> Engine:
        """An engine for one client."""
        ...


class Stack(Protocol):
    """A TLS stack: its module."""

    def load_client(self, settings: ClientSettings) -> ClientCredentials:
        """Read what the settings name. It may block, so it is called in a thread.

        Raises TLSError, or OSError for a file that cannot be read.
        """
        ...

    def load_server(self, settings: ServerSettings) -> ServerCredentials:
        """Read what the settings name; as `load_client`."""
        ...
