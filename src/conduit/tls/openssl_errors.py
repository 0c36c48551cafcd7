"""What OpenSSL says went wrong, in words of use."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Literal

from ..errors import TLSError
from .alerts import alert_of, explain_alert
from .refusal import no_certificate, refused

_NO_TLS = "the peer does not speak TLS here: what it sent is no TLS record"

_REASONS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "HTTP_REQUEST": "the peer sent a plain HTTP request to a port for TLS",
    "HTTPS_PROXY_REQUEST": "the peer sent a plain HTTP proxy request to a port for TLS",
    "UNSUPPORTED_PROTOCOL": "the peer speaks no version of TLS that is safe (1.2 or 1.3)",
    "VERSION_TOO_LOW": "the peer speaks no version of TLS that is safe (1.2 or 1.3)",
    "NO_PROTOCOLS_AVAILABLE": "this side's ssl_ctx allows no version of TLS",
    "NO_SHARED_CIPHER": (
        "the two sides have no cipher suite in common; for TLS 1.2 it must be one with ECDHE and "
        "AES-GCM or ChaCha20, fitting the type of the server's key"
    ),
    "NO_SUITABLE_KEY_SHARE": "the two sides have no group for the key exchange in common",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": (
        "the client accepts no signature of the kind that the server's key makes"
    ),
    "NO_SHARED_GROUPS": "the two sides have no group for the key exchange in common",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was damaged or forged on its way",
    "BAD_SIGNATURE": "the peer's signature is wrong: it does not have the key of its certificate",
    "EXCESSIVE_MESSAGE_SIZE": "the peer sent a handshake message that is too long",
    "DH_KEY_TOO_SMALL": "the peer's key exchange is too weak",
    "WRONG_SIGNATURE_TYPE": "the peer signed in a way that was not offered",
}


def tls_error(
    error: ssl.SSLError,
    *,
    chain: Sequence[bytes],
    asked: str | None,
    peer: Literal["client", "server"],
) -> TLSError:
    """The error to raise for OpenSSL's.

    chain: what the peer has shown, in DER. asked: for which name it was asked. peer: its role.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return refused(error.verify_code, error.verify_message, chain, asked=asked, peer=peer)
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return no_certificate()
    # Python does not know every reason: no_application_protocol it has only as words.
    alert = alert_of(reason or str(error))
    if alert is not None:
        return TLSError(f"the {peer} refused: {explain_alert(alert)}", alert=alert)
    words = _REASONS.get(reason)
    if words is None:
        words = reason.replace("_", " ").lower() or str(error)
        words = f"the TLS connection failed: {words}"
    return TLSError(words)
