"""What is loaded from settings. Everything here may read files: call it in a thread."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ..._hostnames import is_ip
from ...errors import AddressError, TLSError
from .. import key_files, pem
from ..certificate import Certificate
from ..engine import ClientSettings, ServerSettings
from ..keys import OwnKey
from ..trust import Trust
from . import bases
from .anchors import load_anchors
from .connection import Identity, Judge
from .engine import ClientEngine, ServerEngine
from .judging import ChainJudge
from .key_log import KeyLog
from .primitives import key_kind

__all__ = ["Client", "Server"]

_SMALLEST_RSA: Final = 2048

# What can be the name of a peer: visible ASCII that does not begin with a dot.
_NAME = re.compile(r"[!-\-/-~][!-~]{0,254}")


# Our own keys -------------------------------------------------------------------------------------


def load_key(key: OwnKey) -> tuple[Identity, tuple[str, ...]]:
    """A certificate and its key, and the names that it is for.

    Raises OSError for a file that cannot be read, TLSError for one that holds something else, for a
    key of another certificate, and for a password that is wrong, missing, or cannot be had.
    """
    chain_file = pem.read(key.crt_file)
    private = _private_key(key)
    try:
        chain = pem.certificates(chain_file)
    except ValueError:
        chain = []
    if not chain:
        raise key_files.unusable(key)
    kind = key_kind(private)
    if kind is None:
        raise key_files.unusable(
            key, "the native stack signs with RSA, with Ed25519, and with EC on P-256 to P-521"
        )
    _check_pair(key, chain[0], private)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _SMALLEST_RSA:
        raise key_files.too_weak(key, f"RSA {private.key_size}")
    try:
        names = Certificate.read(chain[0]).names
    except ValueError:
        names = ()
    return Identity(chain, private), names


def _private_key(key: OwnKey) -> Any:
    data = pem.private_key(pem.read(key.key_file))
    if data is None:
        raise key_files.unusable(key)
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        pass  # it is encrypted
    except (ValueError, UnsupportedAlgorithm) as error:
        raise key_files.unusable(key) from error
    password = key_files.password_of(key)
    try:
        return load_pem_private_key(data, password.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise key_files.wrong_password(key) from error


def _check_pair(key: OwnKey, der: bytes, private: Any) -> None:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        certified = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise key_files.unusable(key) from error
    if certified.public_bytes(*form) != private.public_key().public_bytes(*form):
        raise key_files.mismatched(key)


# What is offered ----------------------------------------------------------------------------------


class _Handshake(bases.HandshakeSettings):
    """What is offered, and taken: TLS 1.2 and 1.3, ECDHE, AEAD, and what is safe with them."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = [(3, 4), (3, 3)]
        self.minVersion, self.maxVersion = (3, 3), (3, 4)
        # As OpenSSL prefers them.
        self.cipherNames = ["aes256gcm", "chacha20-poly1305", "aes128gcm"]
        self.keyExchangeNames = ["ecdhe_ecdsa", "ecdhe_rsa"]
        self.eccCurves = ["x25519", "secp256r1", "secp384r1", "secp521r1"]
        self.keyShares = ["x25519"]
        self.dhGroups: list[str] = []
        self.ec_point_formats = [0]
        self.rsaSchemes = ["pss", "pkcs1"]
        self.rsaSigHashes = ["sha256", "sha384", "sha512"]
        self.ecdsaSigHashes = ["sha256", "sha384", "sha512"]
        self.dsaSigHashes: list[str] = []
        self.more_sig_schemes = ["Ed25519"]
        self.use_heartbeat_extension = False
        self.useEncryptThenMAC = False  # of CBC
        self.usePaddingExtension = False
        self.record_size_limit = None
        self.ticket_count = 0
        # It grows without a bound there, and hardly anybody offers it.
        self.certificate_compression_send: list[str] = []
        self.certificate_compression_receive: list[str] = []
        self.validated = False

    def validate(self) -> Any:
        """Checked and copied once, not in every handshake."""
        if self.validated:
            return self
        checked = super().validate()
        checked.__class__ = _Handshake
        checked.validated = True
        checked.filtered = {}
        return checked


def handshake_settings() -> Any:
    """What the library is to offer and to take."""
    return _Handshake().validate()


# Both roles ---------------------------------------------------------------------------------------


class Client:
    """What connections by the same settings share."""

    __slots__ = ("_anchors", "_trust", "handshake", "identity", "key_log", "settings")

    def __init__(self, settings: ClientSettings) -> None:
        if settings.ssl_ctx is not None:
            raise TLSError("an ssl_ctx is OpenSSL's: the native stack can do nothing with it")
        self.settings = settings
        self.handshake = handshake_settings()
        self.identity = None if settings.own_key is None else load_key(settings.own_key)[0]
        self._trust = settings.trust or Trust("os")
        self._anchors = load_anchors(self._trust)
        self.key_log = None if settings.key_log is None else KeyLog(settings.key_log)

    @property
    def verifies(self) -> bool:
        """Whether servers' certificates are verified."""
        return self._trust.verifies

    def engine(self, hostname: str, session: Hashable) -> ClientEngine:
        """As of all client credentials; sessions are not taken up again."""
        del session
        return ClientEngine(self, hostname)

    def judge_for(self, hostname: str) -> tuple[Judge, str | None]:
        """What decides on a server of a name, and the name for SNI; addresses have none there."""
        address = is_ip(hostname)
        if hostname and not address and not _NAME.fullmatch(hostname):
            raise AddressError(f"{hostname!r} cannot be the name of a TLS peer")
        checked = self.settings.check_ip if address else self.settings.check_hostname
        judge = ChainJudge(
            self._trust,
            self._anchors,
            peer="server",
            asked=hostname if checked else None,
            shown_as=hostname,
        )
        return judge, None if address else hostname or None


class Server:
    """What the clients of one server share: its certificates."""

    __slots__ = ("_by_name", "_first", "handshake", "judge", "key_log", "names", "settings")

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.handshake = handshake_settings()
        loaded = [load_key(key) for key in settings.keys]
        self._first = loaded[0][0]
        self._by_name: dict[str, Identity] = {}
        for identity, names in loaded:
            for name in names:
                self._by_name.setdefault(name.lower(), identity)
        self.names: tuple[str, ...] = next((names for _, names in loaded if names), ())
        asks = settings.client_auth != "none"
        trust = settings.trust if asks else None
        self.judge: Judge = ChainJudge(
            trust or Trust(None, verifies=False),
            load_anchors(trust) if trust is not None else None,
            peer="client",
            required=settings.client_auth == "required",
        )
        self.key_log = None if settings.key_log is None else KeyLog(settings.key_log)

    def engine(self) -> ServerEngine:
        """As of all server credentials."""
        return ServerEngine(self)

    def identity_for(self, name: str | None) -> Identity:
        """What to show to a client that asks for a name; the first, if it is nobody's."""
        name = (name or "").lower()
        wildcard = f"*.{name.partition('.')[2]}"
        return self._by_name.get(name) or self._by_name.get(wildcard) or self._first
