"""The engines of the native stack: a handshake by tlslite-ng, and what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ...errors import TLSError
from .. import engine as base
from ..certificate import Peer
from ..facts import Facts
from . import failures
from . import tlslite_copy as tlslite
from .connection import TLS12, Connection, Preference
from .established import Established
from .key_log import KeyLog
from .peer_dict import peer_dict
from .protected import Protection, updates

if TYPE_CHECKING:
    from .credentials import Client, Server

__all__ = ["ClientEngine", "NativeEngine", "ServerEngine"]

# The suites that are offered, with the names that OpenSSL has for them.
_SUITES: Final = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
}
_AES_256: Final = 0x1302
_CHACHA20: Final = 0x1303
_KEY_SIZES: Final = {suite: 16 if "128" in name else 32 for suite, name in _SUITES.items()}


class NativeEngine(base.Engine):
    """An engine of either role.

    connection: whose handshake `steps` go through. verifies: whether the peer's certificate is.
    """

    __slots__ = (
        "_connection",
        "_established",
        "_facts",
        "_incoming",
        "_key_log",
        "_steps",
        "_verifies",
    )

    peer: Peer

    def __init__(
        self,
        connection: Connection,
        steps: Iterator[Any],
        key_log: KeyLog | None,
        *,
        verifies: bool = True,
    ) -> None:
        super().__init__()
        self._incoming = connection.records.incoming
        self._connection: Connection | None = connection
        self._steps = steps
        self._key_log = key_log
        self._verifies = verifies
        self._established: Established | None = None
        self._facts: Facts | None = None

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """As of every engine."""
        if self._established is None:
            self._incoming += data
        elif not self.ended:
            self._established.receive(data)

    def handshake(self) -> bool:
        """As of every engine."""
        connection = self._connection
        if connection is None or self._established is not None:
            return True
        try:
            for _ in self._steps:
                return False
            connection.check_aligned()
            self._finish(connection)
        except Exception as error:
            raise self._failure(connection, error) from error
        return True

    def read(self) -> bytes:
        """As of every engine."""
        established = self._established
        if established is None or self.ended:
            return b""
        data = established.read()
        self.ended = established.ended
        self.failure = established.failure
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As of every engine."""
        if self._established is None:
            raise TLSError("the TLS handshake is not done")
        self._established.write(data)

    def close_notify(self) -> None:
        """As of every engine."""
        if self._established is not None:
            self._established.close_notify()

    def to_send(self) -> bytes:
        """As of every engine."""
        connection = self._connection
        if connection is not None and connection.records.outgoing:
            outgoing = connection.records.outgoing
            data = bytes(outgoing)
            outgoing.clear()
        else:
            data = b""
        if self._established is not None:
            # The last words of the handshake go before.
            self._connection = None
            data += self._established.to_send()
        return data

    def facts(self) -> Facts:
        """As of every engine."""
        assert self._facts is not None, "known after the handshake"
        return self._facts

    def extra(self, name: str) -> Any:
        """What asyncio's transports tell of a cipher, and of a peer that was verified."""
        facts = self._facts
        if facts is None:
            return None
        if name == "cipher":
            return facts.cipher, facts.version, 128 if "128" in facts.cipher else 256
        if name == "peercert" and facts.peer_chain:
            # As in the standard library: nothing that was not verified.
            return peer_dict(facts.peer_chain[0]) if self._verifies else {}
        return None

    def _failure(self, connection: Connection, error: Exception) -> TLSError:
        """The error to raise, when the peer has been told."""
        if isinstance(error, tlslite.errors.TLSAlert) or connection.is_told:
            alert = int(getattr(error, "description", 0))
        else:
            alert = failures.alert_for(error)
            try:
                connection.send_alert(alert)
            except Exception:
                # In the midst of a change of keys there may be none to send it with.
                connection.records.outgoing.clear()
        self._incoming.clear()
        return failures.tls_error(error, alert, self.peer)

    def _finish(self, connection: Connection) -> None:
        """Take over from tlslite-ng: keys, and what is known."""
        tls13 = connection.version > TLS12
        session = connection.session
        suite = int(session.cipherSuite)
        reading, writing = self._keys(connection, suite)
        self._facts = Facts(
            library="native",
            version="TLSv1.3" if tls13 else "TLSv1.2",
            cipher=_SUITES[suite],
            alpn=connection.alpn,
            sni=connection.sni,
            peer_chain=connection.shown,
            resumed=False,
        )
        if self._key_log is not None:
            self._key_log.write(
                connection.client_random,
                connection.secrets,
                b"" if tls13 else bytes(session.masterSecret),
            )
        established = Established(reading, writing, tls13=tls13, peer=self.peer)
        # Whoever has finished may have gone on speaking.
        established.receive(self._incoming)
        self._incoming.clear()
        self._established = established

    def _keys(self, connection: Connection, suite: int) -> tuple[Protection, Protection]:
        """The keys that tlslite-ng has, and of TLS 1.3 what the next ones are made of."""
        renewals: list[Callable[[], Protection] | None] = [None, None]
        if connection.version > TLS12:
            algorithm = "sha384" if suite == _AES_256 else "sha256"
            make = ChaCha20Poly1305 if suite == _CHACHA20 else AESGCM
            client, server = connection.secrets[-1]
            ours, theirs = (client, server) if self.peer == "server" else (server, client)
            size = _KEY_SIZES[suite]
            renewals = [updates(secret, algorithm, make, size) for secret in (theirs, ours)]
        reading, writing = (
            Protection(
                state.encContext.cipher,
                bytes(state.fixedNonce),
                number=state.seqnum,
                renewed=renewed,
            )
            for state, renewed in zip(connection.states, renewals, strict=True)
        )
        return reading, writing


class ClientEngine(NativeEngine):
    """The engine of the side that connects."""

    __slots__ = ()

    peer: Peer = "server"

    def __init__(self, credentials: Client, hostname: str) -> None:
        judge, name = credentials.judge_for(hostname)
        connection = Connection(bytearray(), judge)
        connection.sni = name
        identity = credentials.identity
        steps = connection.handshakeClientCert(
            certChain=identity and identity.chain,
            privateKey=identity and identity.key,
            settings=credentials.handshake,
            serverName=name,
            alpn=[bytearray(one.encode()) for one in credentials.settings.alpn] or None,
            async_=True,
        )
        super().__init__(connection, steps, credentials.key_log, verifies=credentials.verifies)


class ServerEngine(NativeEngine):
    """The engine of the side that was connected to."""

    __slots__ = ()

    peer: Peer = "client"

    def __init__(self, credentials: Server) -> None:
        preference = Preference(credentials.settings.alpn)
        connection = Connection(
            bytearray(), credentials.judge, credentials.identity_for, preference
        )
        identity = credentials.identity_for(None)
        steps = connection.handshakeServerAsync(
            certChain=identity.chain,
            privateKey=identity.key,
            reqCert=credentials.settings.client_auth != "none",
            settings=credentials.handshake,
            alpn=preference,
        )
        super().__init__(connection, steps, credentials.key_log)
