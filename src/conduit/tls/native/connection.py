"""A handshake by tlslite-ng's state machine, with what it does not check, or not in time."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

from cryptography.exceptions import UnsupportedAlgorithm

from ...errors import CertificateError, TLSError
from . import bases
from . import tlslite_copy as tlslite
from .bases import Steps, Version
from .failures import (
    DECODE_ERROR,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    UNSUPPORTED_CERTIFICATE,
    UNSUPPORTED_EXTENSION,
)
from .handshake_records import Fragments, HandshakeRecords
from .primitives import OwnCertificate, Signer

__all__ = ["Connection", "Identity", "Refusal"]

TLS12: Version = (3, 3)

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE = 20, 21, 22
_WARNING, _FATAL = 1, 2

# Warnings of TLS 1.2 that change nothing: of no renegotiation, that the user is tired, and that the
# name is not known. As many as OpenSSL takes.
_IGNORED = frozenset((100, 90, 112))
_MOST_WARNINGS = 5

# Extensions by number.
_SIGNATURE_ALGORITHMS = 13
_ALPN = 16
_COMPRESSION = 27
_SESSION_TICKET = 35
_SUPPORTED_VERSIONS = 43
_COOKIE = 44
_POST_HANDSHAKE_AUTH = 49
_RENEGOTIATION = 0xFF01

_COMPRESSED_CERTIFICATE = 25  # a kind of message

# How a side may sign in CertificateVerify (RFC 8446, 4.2.3), by the kind of its key. PKCS #1 1.5 is
# for TLS 1.2 alone, where also the hash is not bound to the curve.
_PSS = frozenset(((8, 4), (8, 5), (8, 6), (8, 9), (8, 10), (8, 11)))
_SIGNATURES = {
    "rsa": _PSS,
    "ecdsa": frozenset(((4, 3), (5, 3), (6, 3))),
    "Ed25519": frozenset(((8, 7),)),
}
_PKCS1 = frozenset(((4, 1), (5, 1), (6, 1)))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a peer is not trusted: the error to raise here, and the alert for it, by number."""

    error: CertificateError
    alert: int


Judge: TypeAlias = Callable[[Sequence[bytes]], Refusal | None]
"""Decides on the certificates that a peer has shown: none at all, or each in DER, its own first."""


class Identity:
    """A chain of our own, and its key, as the library takes them.

    chain: in DER, our own first. key: the private one, of `cryptography`.
    """

    __slots__ = ("chain", "key")

    def __init__(self, chain: Sequence[bytes], key: Any) -> None:
        self.key = Signer(key)
        certificates: list[OwnCertificate] = []
        for der in chain:
            certificate = OwnCertificate()
            certificate.parseBinary(der)
            certificates.append(certificate)
        # The kind of its key decides on the suite; it is not to be read in each handshake.
        setattr(certificates[0], "publicKey", self.key)  # noqa: B010
        self.chain: Any = tlslite.x509certchain.X509CertChain(certificates)


class Preference:
    """What a server answers to ALPN: of what it knows, the first that the client knows, too.

    tlslite-ng takes the client's order, and in TLS 1.2 refuses whom it has nothing in common with.
    So this container has exactly the one that was chosen.
    """

    __slots__ = ("_chosen", "_known")

    def __init__(self, known: Sequence[str]) -> None:
        self._known = [name.encode() for name in known]
        self._chosen: bytes | None = b""

    def choose(self, offered: Sequence[bytes | bytearray]) -> None:
        """Compare with what the client has offered."""
        names = {bytes(name) for name in offered}
        self._chosen = next((name for name in self._known if name in names), None)

    def __bool__(self) -> bool:
        return self._chosen is not None

    def __contains__(self, name: bytes | bytearray) -> bool:
        return bytes(name) == self._chosen

    @property
    def chosen(self) -> str | None:
        """The one that was chosen."""
        return self._chosen.decode() if self._chosen else None


class _NoSocket:
    """Where tlslite-ng collects what it writes, to send it in one packet; the engine does that."""

    buffer_writes = False
    padding_cb = None

    def flush(self) -> None:
        """Nothing waits."""


class _ClientHello(bases.ClientHello):
    """Without what tlslite-ng offers unasked, and the engine does not do.

    That is to be asked for a certificate later on, and the tickets of TLS 1.2.
    """

    def create(self, *given: Any, extensions: Any = None, **more: Any) -> Any:
        kept = [
            one for one in extensions if one.extType not in (_POST_HANDSHAKE_AUTH, _SESSION_TICKET)
        ]
        return super().create(*given, extensions=kept, **more)


tlslite.tlsconnection.ClientHello = _ClientHello


class _ConstantTime(bytearray):
    """Bytes that are compared in a time which does not tell where they differ."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes | bytearray) and hmac.compare_digest(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other


class Connection(bases.TLSConnection):
    """One handshake.

    incoming: what is received. judge: decides on the peer's certificates as soon as they are there,
    before anything else is believed of it; a peer without any is put before it, too, where it was
    asked. choose: of a server, which certificate to show for a name. preference: of a server, for
    ALPN.
    """

    def __init__(
        self,
        incoming: bytearray,
        judge: Judge,
        choose: Callable[[str | None], Identity] | None = None,
        preference: Preference | None = None,
    ) -> None:
        super().__init__(None)
        self.records = HandshakeRecords(incoming)
        self.sock = _NoSocket()
        self._recordLayer = _Records(self.records)
        self._defragmenter = fragments = Fragments()
        for kind, size in ((_CHANGE_CIPHER_SPEC, 1), (_ALERT, 2)):
            fragments.add_static_size(kind, size)
        fragments.add_dynamic_size(_HANDSHAKE, 1, 3)
        self.client_random = b""
        self.shown: tuple[bytes, ...] = ()
        self.sni: str | None = None
        self.alpn: str | None = None
        self._judge = judge
        self._choose = choose
        self._preference = preference
        self._offered: frozenset[int] = frozenset()
        self._offered_alpn: frozenset[bytes] = frozenset()
        self.is_told = False
        self._warnings = 0
        self._kind = ""

    @property
    def states(self) -> tuple[Any, Any]:
        """The library's keys for reading, and for writing."""
        return self._recordLayer._readState, self._recordLayer._writeState

    @property
    def secrets(self) -> list[tuple[bytes, bytes]]:
        """The traffic secrets of TLS 1.3, client's and server's: of the handshake, then of data."""
        secrets: list[tuple[bytes, bytes]] = self._recordLayer.secrets
        return secrets

    def send_alert(self, number: int) -> None:
        """Tell the peer that it is over."""
        self.is_told = True
        alert = tlslite.messages.Alert().create(number, _FATAL)
        for _ in self._sendMsg(alert, True, True):
            pass

    def _refuse(self, alert: int, words: str) -> NoReturn:
        self.send_alert(alert)
        raise TLSError(words)

    def check_aligned(self) -> None:
        """Raise TLSError for a handshake that goes on in the record of its end."""
        if not self._defragmenter.is_empty():
            raise TLSError("the peer sent more than a handshake in the last record of one")

    # What the library calls, and is done here in another way or in addition.

    def _handshakeWrapperAsync(self, handshaker: Steps, checker: object) -> Steps:
        # It would forget the keys at the first error, with which the alert has to be encrypted.
        yield from handshaker

    def _shutdown(self, resumable: object) -> None:
        self.closed = True

    def _getMsg(
        self, expectedType: Any, secondaryType: Any = None, constructorType: Any = None
    ) -> Steps:
        if isinstance(secondaryType, tuple):
            # It was not offered: decompression has no bound there.
            kinds = cast("tuple[int, ...]", secondaryType)
            secondaryType = tuple(kind for kind in kinds if kind != _COMPRESSED_CERTIFICATE)
        for result in super()._getMsg(expectedType, secondaryType, constructorType):
            if type(result) is not int:
                self._look_at(result)
            yield result

    def _getNextRecord(self) -> Steps:
        for result in super()._getNextRecord():
            if type(result) is tuple and self._is_idle_warning(*result):
                continue
            yield result

    def _is_idle_warning(self, header: Any, parser: Any) -> bool:
        if header.type != _ALERT or self.version > TLS12 or len(parser.bytes) != 2:
            return False
        level, number = parser.bytes
        if level != _WARNING or number not in _IGNORED:
            return False
        self._warnings += 1
        return self._warnings < _MOST_WARNINGS

    def _queue_message(self, msg: Any) -> None:
        if isinstance(msg, tlslite.messages.CertificateRequest):
            # An empty list of compressions, which others take for an error.
            msg.extensions = [one for one in msg.extensions if one.extType != _COMPRESSION]
        super()._queue_message(msg)

    def _sendMsg(
        self, msg: Any, randomizeFirstBlock: bool = True, update_hashes: bool = True
    ) -> Steps:
        if isinstance(msg, tlslite.messages.ClientHello):
            self.client_random = bytes(msg.random)
            self._offered = frozenset(one.extType for one in msg.extensions)
            alpn = msg.getExtension(_ALPN)
            if alpn:
                self._offered_alpn = frozenset(map(bytes, alpn.protocol_names))
        yield from super()._sendMsg(msg, randomizeFirstBlock, update_hashes)

    def _check_certchain_with_settings(self, cert_chain: Any, settings: object) -> Steps:
        # The judge has seen it. What is wanted here is the key.
        yield cert_chain.getEndEntityPublicKey()

    def _server_select_certificate(self, *given: Any) -> Any:
        settings, hello, suites, _, _, version = given
        assert self._choose is not None, "a server has certificates"
        identity = self._choose(self.sni)
        return super()._server_select_certificate(
            settings, hello, suites, identity.chain, identity.key, version
        )

    @staticmethod
    def _pickServerKeyExchangeSig(*given: Any, **more: Any) -> Any:
        if given[1].getExtension(_SIGNATURE_ALGORITHMS) is None:
            # It would take SHA-1 then, as RFC 5246 has it.
            raise tlslite.errors.TLSHandshakeFailure("No common signature algorithms")
        return bases.TLSConnection._pickServerKeyExchangeSig(*given, **more)

    # Looking at what has come, before the library does.

    def _look_at(self, message: object) -> None:
        look = _LOOKS.get(type(message))
        if look is not None:
            getattr(self, look)(message)

    def _look_at_client_hello(self, hello: Any) -> None:
        self.client_random = bytes(hello.random)
        name = bytes(hello.server_name or b"")
        self.sni = name.decode("ascii", "replace") or None
        alpn = hello.getExtension(_ALPN)
        if self._preference is not None:
            self._preference.choose(alpn.protocol_names or () if alpn else ())
            self.alpn = self._preference.chosen

    def _look_at_server_hello(self, hello: Any) -> None:
        self._check_extensions(hello)
        chosen = hello.getExtension(_SUPPORTED_VERSIONS)
        if chosen is not None and tuple(chosen.version) <= TLS12:
            self._refuse(ILLEGAL_PARAMETER, "the server chose a version in a way that is not there")
        if chosen is None:
            # TLS 1.2: whoever does not know of RFC 5746 may be made to take another's beginning
            # for ours, and whoever has something in it takes this for a second handshake.
            renegotiation = hello.getExtension(_RENEGOTIATION)
            if renegotiation is None or renegotiation.renegotiated_connection:
                self._refuse(HANDSHAKE_FAILURE, "the server is open to attacks by renegotiation")
            self._take_alpn(hello)

    def _look_at_encrypted_extensions(self, extensions: Any) -> None:
        self._check_extensions(extensions)
        alpn = extensions.getExtension(_ALPN)
        if alpn:
            names: list[bytes] = list(alpn.protocol_names or [])
            if len(names) != 1 or bytes(names[0]) not in self._offered_alpn:
                self._refuse(ILLEGAL_PARAMETER, "the server chose a protocol that was not offered")
        self._take_alpn(extensions)

    def _take_alpn(self, message: Any) -> None:
        alpn = message.getExtension(_ALPN)
        if alpn and alpn.protocol_names:
            self.alpn = bytes(alpn.protocol_names[0]).decode("utf-8", "replace")

    def _check_extensions(self, message: Any) -> None:
        """A server may only answer to what was asked (RFC 8446, 4.2)."""
        numbers = [one.extType for one in message.extensions or ()]
        # The renegotiation is offered by a cipher suite; a cookie comes unasked.
        if not self._offered.issuperset(set(numbers) - {_RENEGOTIATION, _COOKIE}):
            self._refuse(
                UNSUPPORTED_EXTENSION, "the server sent an extension that was not asked for"
            )
        if len(set(numbers)) != len(numbers):
            self._refuse(ILLEGAL_PARAMETER, "the server sent an extension twice")

    def _look_at_certificate(self, message: Any) -> None:
        chain = message.cert_chain
        self.shown = tuple(bytes(one.bytes) for one in chain.x509List) if chain else ()
        if self._client and not self.shown:
            self._refuse(DECODE_ERROR, "the server showed no certificate")
        refusal = self._judge(self.shown)
        if refusal is not None:
            alert = refusal.alert
            if not self.shown and self.version <= TLS12:
                alert = HANDSHAKE_FAILURE
            self.send_alert(alert)
            raise refusal.error
        if self.shown:
            try:
                self._kind = chain.getEndEntityPublicKey().key_type
            except (ValueError, UnsupportedAlgorithm):
                self._refuse(
                    UNSUPPORTED_CERTIFICATE, "the peer's certificate has a key of another kind"
                )

    def _look_at_certificate_request(self, request: Any) -> None:
        if self.version <= TLS12 and request.supported_signature_algs:
            # It takes a server that wants no RSA for one that cannot be talked to. This one says
            # nothing: it is SHA-1, which is not used.
            request.supported_signature_algs = [*request.supported_signature_algs, (2, 1)]

    def _look_at_certificate_verify(self, message: Any) -> None:
        """tlslite-ng's client of TLS 1.3 takes any algorithm, SHA-1 among them."""
        allowed = _SIGNATURES.get(self._kind, frozenset())
        if self.version <= TLS12 and self._kind == "rsa":
            allowed |= _PKCS1
        signature = tuple(message.signatureAlgorithm or [])
        if signature not in allowed:
            self._refuse(ILLEGAL_PARAMETER, "the peer signed in a way that was not offered")

    def _look_at_finished(self, message: Any) -> None:
        message.verify_data = _ConstantTime(message.verify_data)


class _Records(bases.RecordLayer):
    """tlslite-ng's record layer, on records of ours; it remembers the secrets that it is given."""

    def __init__(self, records: HandshakeRecords) -> None:
        super().__init__(None)
        self._recordSocket = records
        self.secrets: list[tuple[bytes, bytes]] = []

    def calcTLS1_3PendingState(
        self, suite: int, client: bytearray, server: bytearray, implementations: Any
    ) -> None:
        self.secrets.append((bytes(client), bytes(server)))
        super().calcTLS1_3PendingState(suite, client, server, implementations)


# What looks at a message.
_LOOKS: dict[type, str] = {
    tlslite.messages.ClientHello: "_look_at_client_hello",
    tlslite.messages.ServerHello: "_look_at_server_hello",
    tlslite.messages.EncryptedExtensions: "_look_at_encrypted_extensions",
    tlslite.messages.Certificate: "_look_at_certificate",
    tlslite.messages.CertificateRequest: "_look_at_certificate_request",
    tlslite.messages.CertificateVerify: "_look_at_certificate_verify",
    tlslite.messages.Finished: "_look_at_finished",
}
