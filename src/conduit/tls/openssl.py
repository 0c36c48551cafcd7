"""The stack on OpenSSL: engines around `ssl.SSLObject`, which works on memory alone."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

from .._hostnames import is_ip
from ..errors import AddressError, TLSError
from . import openssl_contexts as contexts
from .certificate import Certificate, DerError, Peer
from .client_hello import HelloReader
from .engine import ClientSettings, Engine, ServerSettings
from .facts import Facts
from .openssl_errors import tls_error
from .openssl_witness import shown_to, witness
from .refusal import wrong_fingerprint, wrong_name
from .sessions import Sessions
from .trust import Trust

__all__ = ["OpenSSLEngine", "load_client", "load_server"]

# Ciphertext is given to OpenSSL, and taken from it, in pieces of this size: its buffers never
# shrink again, and what is in the processor's cache is faster.
_PIECE = 64 * 1024
_LARGEST_RECORD = 16 * 1024

# A fatal alert in the clear (RFC 8446, 6.2).
_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"


class OpenSSLEngine(Engine):
    """An engine of either role.

    connection, incoming, outgoing: as `SSLContext.wrap_bio` makes and takes them. peer: who the
    other side is, and asked: for which name, for errors.
    """

    __slots__ = (
        "_asked",
        "_connection",
        "_hello",
        "_incoming",
        "_kept",
        "_outgoing",
        "_read",
        "_said_all",
        "_trust",
        "_waiting",
        "_write",
    )

    peer: Peer = "client"

    def __init__(
        self,
        connection: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        trust: Trust | None,
        asked: str | None,
    ) -> None:
        super().__init__()
        self._connection = connection
        # Not SSLObject's own methods, which are in Python and add nothing.
        inner = cast("Any", connection)._sslobj
        self._read: Callable[[int], bytes] = inner.read
        self._write: Callable[[bytes | bytearray | memoryview], int] = inner.write
        self._incoming = incoming
        self._outgoing = outgoing
        self._trust = trust
        self._asked = asked
        self._said_all = False
        # A client's hello that is not whole, of a server.
        self._hello: HelloReader | None = None
        # Whether the session is kept, of a client that will keep one.
        self._kept = True
        # Received, and not given to OpenSSL yet.
        self._waiting: bytes | bytearray | memoryview = b""

    @property
    def sni(self) -> str | None:
        """The name that the client asked for, if it did."""
        raise NotImplementedError

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """As of every engine."""
        if self.ended:
            return
        if self._hello is not None:
            self._receive_hello(self._hello, data)
            return
        if self._waiting or len(data) > _PIECE:
            self._waiting = b"".join((self._waiting, data)) if self._waiting else data
        else:
            self._incoming.write(data)

    def handshake(self) -> bool:
        """As of every engine."""
        while True:
            try:
                self._connection.do_handshake()
            except ssl.SSLWantReadError:
                if not self._feed():
                    return False
            except ssl.SSLError as error:
                raise self._error(error) from error
            else:
                self._check_peer()
                return True

    def read(self) -> bytes:
        """As of every engine."""
        if self.ended or not (self._incoming.pending or self._waiting):
            return b""
        pieces: list[bytes] = []
        read, incoming = self._read, self._incoming
        while True:
            try:
                data = read(_LARGEST_RECORD)
            except ssl.SSLWantReadError:
                if self._feed():
                    continue
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                if not pieces:
                    raise self._error(error) from error
                self.failure = self._error(error)
                self.failure.__cause__ = error.with_traceback(None)
                break
            if not data:
                self.ended = True
                self._waiting = b""
                break
            pieces.append(data)
            # To ask once more than there is something would cost an exception. What was read is a
            # whole record, so OpenSSL has nothing left of it.
            if not incoming.pending and not (self._waiting and self._feed()):
                break
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data and not self._kept:
            # A session of TLS 1.3 has come by the time the server has spoken.
            self._keep_session()
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As of every engine."""
        try:
            self._write(data)
        except ssl.SSLError as error:
            raise self._error(error) from error

    def close_notify(self) -> None:
        """As of every engine."""
        if self._said_all:
            return
        self._said_all = True
        if not self._kept:
            self._keep_session()
        try:
            # It sends ours, then looks for the peer's, which need not be there yet.
            self._connection.unwrap()
        except ssl.SSLError:
            pass

    def to_send(self) -> bytes:
        """As of every engine."""
        return self._outgoing.read()

    def facts(self) -> Facts:
        """As of every engine."""
        connection = self._connection
        cipher = connection.cipher()
        return Facts(
            library="openssl",
            version=connection.version() or "",
            cipher=cipher[0] if cipher else "",
            alpn=connection.selected_alpn_protocol(),
            sni=self.sni,
            peer_chain=self._chain(),
            resumed=bool(connection.session_reused),
        )

    def extra(self, name: str) -> Any:
        """What asyncio's transports tell of a `ssl.SSLObject`."""
        match name:
            case "ssl_object":
                return self._connection
            case "sslcontext":
                return self._connection.context
            case "cipher":
                return self._connection.cipher()
            case "compression":
                return self._connection.compression()
            case "peercert":
                return self._connection.getpeercert()
            case _:
                return None

    def _receive_hello(self, hello: HelloReader, data: bytes | bytearray | memoryview) -> None:
        """What the client sends first; only a server has `_hello`."""
        raise NotImplementedError

    def _keep_session(self) -> None:
        """Remember the session; only a client is not `_kept`."""
        raise NotImplementedError

    def _feed(self) -> bool:
        """Give OpenSSL the next piece of what was received; whether there was one."""
        if not self._waiting:
            return False
        waiting = memoryview(self._waiting)
        self._incoming.write(waiting[:_PIECE])
        # Not an empty view: it would hold on to all of it.
        self._waiting = waiting[_PIECE:] or b""
        return True

    def _error(self, error: ssl.SSLError) -> TLSError:
        chain = shown_to(self._connection)
        if chain and isinstance(error, ssl.SSLCertVerificationError):
            refusal = self._refuse_pin(chain)
            if refusal is not None:
                return refusal
        return tls_error(error, chain=chain, asked=self._asked, peer=self.peer)

    def _refuse_pin(self, chain: Sequence[bytes]) -> TLSError | None:
        """The error for a peer whose certificate is none of those that are pinned."""
        trust = self._trust
        if trust is None or trust.accepts(hashlib.sha256(chain[0]).digest()):
            return None
        return wrong_fingerprint(chain, peer=self.peer)

    def _check_peer(self) -> None:
        """Look at what OpenSSL was not asked to check."""
        if self._trust is not None and self._trust.pins:
            chain = self._chain()
            refusal = self._refuse_pin(chain) if chain else None
            if refusal is not None:
                raise refusal

    def _chain(self) -> tuple[bytes, ...]:
        chain = shown_to(self._connection)
        if not chain:
            # A session that is taken up again remembers the peer's own alone.
            own = self._connection.getpeercert(binary_form=True)
            chain = (own,) if own else ()
        return chain


class ClientEngine(OpenSSLEngine):
    """The engine of the side that connects."""

    __slots__ = ("_checks_name", "_credentials", "_key")

    peer: Peer = "server"

    def __init__(self, credentials: Client, hostname: str, key: Hashable) -> None:
        self._credentials = credentials
        self._key = key
        context, self._checks_name = credentials.context_for(hostname)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        earlier = None if key is None else credentials.sessions.take(key)
        session = None if earlier is None else earlier.session
        if session is not None and not session.has_ticket:
            session = None
        try:
            connection = context.wrap_bio(
                incoming, outgoing, server_hostname=hostname or None, session=session
            )
        except ValueError as error:
            raise AddressError(f"{hostname!r} cannot be the name of a TLS peer: {error}") from error
        except ssl.SSLError as error:
            # A context of the caller's, made for servers.
            raise TLSError(f"cannot connect by this ssl_ctx: {error.args[-1]}") from error
        super().__init__(connection, incoming, outgoing, credentials.settings.trust, hostname)
        self._kept = key is None

    @property
    def sni(self) -> str | None:
        """The name that was asked for; addresses are not sent (RFC 6066)."""
        return None if not self._asked or is_ip(self._asked) else self._asked

    def _keep_session(self) -> None:
        self._kept = True
        self._credentials.sessions.keep(self._key, self._connection)

    def _check_peer(self) -> None:
        super()._check_peer()
        if self._checks_name:
            chain = self._chain()
            if not chain or not _is_for(chain[0], self._asked or ""):
                raise wrong_name(chain, asked=self._asked or "")


class ServerEngine(OpenSSLEngine):
    """The engine of the side that was connected to."""

    __slots__ = ("_refused",)

    def __init__(self, context: ssl.SSLContext, trust: Trust | None) -> None:
        self._refused = False
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_side=True)
        super().__init__(connection, incoming, outgoing, trust, None)
        self._hello = HelloReader()

    def _receive_hello(self, hello: HelloReader, data: bytes | bytearray | memoryview) -> None:
        """It is held back until it is whole."""
        if hello.feed(data):
            self._hello = None
            self._refused = not hello.server_name.isascii()
            self.receive(bytes(hello.received))

    def handshake(self) -> bool:
        """As of every engine; a client that asks for what can be no name is refused."""
        if self._refused:
            self._outgoing.write(_UNRECOGNIZED_NAME)
            raise TLSError("the client asks for a name that is not in ASCII")
        return super().handshake()

    @property
    def sni(self) -> str | None:
        """The name that the client asked for."""
        return getattr(self._connection, "asked_for", None)


def _is_for(der: bytes, hostname: str) -> bool:
    """Whether a certificate is for a name; one that cannot be read is for nobody."""
    try:
        return Certificate.read(der).matches(hostname)
    except DerError:
        return False


# What is loaded from settings ---------------------------------------------------------------------


class Client:
    """What connections by the same settings share: contexts, and sessions to take up again."""

    __slots__ = ("_checking", "_lax", "sessions", "settings")

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        # Of connections, not of their sessions: to read one takes as long as half a handshake, and
        # most are never taken up again.
        self.sessions: Sessions[ssl.SSLObject] = Sessions()
        self._checking: ssl.SSLContext | None = None
        self._lax: ssl.SSLContext | None = None
        if settings.ssl_ctx is not None and settings.own_key is not None:
            contexts.load_key(settings.ssl_ctx, settings.own_key)
        if settings.ssl_ctx is not None and settings.key_log is not None:
            contexts.log_keys(settings.ssl_ctx, settings.key_log)
        if settings.ssl_ctx is None:
            if settings.check_hostname or settings.check_ip:
                self._checking = self._make(checks_name=True)
            if not (settings.check_hostname and settings.check_ip):
                self._lax = self._make(checks_name=False)

    def engine(self, hostname: str, session: Hashable) -> ClientEngine:
        """As of all client credentials."""
        return ClientEngine(self, hostname, session)

    def context_for(self, hostname: str) -> tuple[ssl.SSLContext, bool]:
        """The context for a peer, and whether its name is left for us to check."""
        settings = self.settings
        checks = settings.check_ip if is_ip(hostname) else settings.check_hostname
        if settings.ssl_ctx is not None:
            theirs = settings.ssl_ctx
            verifies = theirs.verify_mode != ssl.CERT_NONE
            return theirs, checks and verifies and not theirs.check_hostname
        context = self._checking if checks else self._lax
        assert context is not None, "made for each kind of check that the settings ask for"
        return context, False

    def _make(self, *, checks_name: bool) -> ssl.SSLContext:
        context = contexts.client_context(self.settings, checks_name=checks_name)
        if self.settings.trust is not None and self.settings.trust.pins:
            witness(context, self.settings.trust)
        return context


class Server:
    """What the clients of one server share: a context for each of its certificates."""

    __slots__ = ("context", "names", "trust")

    def __init__(self, settings: ServerSettings) -> None:
        asks = settings.client_auth != "none"
        self.trust: Trust | None = settings.trust if asks else None
        made = [contexts.server_context(settings, key) for key in settings.keys]
        self.context = made[0]
        self.names: tuple[str, ...] = ()
        by_name: dict[str, ssl.SSLContext | None] = {}
        for context, key in zip(made, settings.keys, strict=True):
            names = contexts.names_of(key)
            self.names = self.names or names
            for name in names:
                by_name.setdefault(name.lower(), None if context is self.context else context)
            if asks:
                witness(context, settings.trust)
        self.context.sni_callback = _Chooser(by_name)

    def engine(self) -> ServerEngine:
        """As of all server credentials."""
        return ServerEngine(self.context, self.trust)


class _Chooser:
    """Chooses the certificate for the name that a client asks for, in its handshake.

    by_name: the other contexts; None for names of the first, which must not be held here: it holds
    this, and a circle of contexts is for the garbage collector, with files and keys.
    """

    __slots__ = ("_by_name",)

    def __init__(self, by_name: dict[str, ssl.SSLContext | None]) -> None:
        self._by_name = by_name

    def __call__(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, first: ssl.SSLContext
    ) -> None:
        if name is None:
            return
        connection.asked_for = name  # type: ignore[union-attr]
        name = name.lower()
        wildcard = f"*.{name.partition('.')[2]}"
        chosen = self._by_name.get(name if name in self._by_name else wildcard)
        if chosen is not None:
            connection.context = chosen


def load_client(settings: ClientSettings) -> Client:
    """As of every stack."""
    return Client(settings)


def load_server(settings: ServerSettings) -> Server:
    """As of every stack."""
    return Server(settings)


def engine_of_context(
    context: ssl.SSLContext, *, server_side: bool, hostname: str | None
) -> OpenSSLEngine:
    """An engine of a context that somebody else made, and whose settings are all that counts."""
    if server_side:
        return ServerEngine(context, None)
    settings = ClientSettings(ssl_ctx=context, check_hostname=False, check_ip=False)
    return Client(settings).engine(hostname or "", None)
