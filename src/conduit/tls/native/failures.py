"""What went wrong in a connection by the native stack, in words of use, and the alerts for it."""

from __future__ import annotations

from typing import Any, Final

from ...errors import TLSError
from ..alerts import NUMBERS, explain_alert
from . import tlslite_copy as tlslite

__all__ = ["alert_for", "of_alert", "tls_error"]

# Alerts by number (RFC 8446, 6).
UNEXPECTED_MESSAGE: Final = 10
BAD_RECORD_MAC: Final = 20
RECORD_OVERFLOW: Final = 22
HANDSHAKE_FAILURE: Final = 40
BAD_CERTIFICATE: Final = 42
UNSUPPORTED_CERTIFICATE: Final = 43
ILLEGAL_PARAMETER: Final = 47
DECODE_ERROR: Final = 50
DECRYPT_ERROR: Final = 51
PROTOCOL_VERSION: Final = 70
INSUFFICIENT_SECURITY: Final = 71
INTERNAL_ERROR: Final = 80
UNSUPPORTED_EXTENSION: Final = 110
CERTIFICATE_REQUIRED: Final = 116

DAMAGED: Final = "a record was damaged or forged on its way"
TOO_LONG: Final = "the peer sent a handshake message that is too long"
OUT_OF_ORDER: Final = "the peer sent a handshake message where none is expected"

_NO_SUITE = (
    "the two sides have no cipher suite in common; for TLS 1.2 it must be one with ECDHE and "
    "AES-GCM or ChaCha20, fitting the type of the server's key"
)
_NO_SIGNATURE = "the client accepts no signature of the kind that the server's key makes"
_NO_GROUP = "the two sides have no group for the key exchange in common"

# By what tlslite-ng says, so far as it says anything of use.
_SAID = {
    "No mutual ciphersuite": _NO_SUITE,
    "No common signature algorithms": _NO_SIGNATURE,
    "No acceptable group advertised by client": _NO_GROUP,
    "Server picked curve we didn't advertise": _NO_GROUP,
}

# By the alert that the peer is told by.
_ALERTED = {
    UNEXPECTED_MESSAGE: OUT_OF_ORDER,
    BAD_RECORD_MAC: DAMAGED,
    RECORD_OVERFLOW: "the peer sent a record that is too long",
    HANDSHAKE_FAILURE: _NO_SUITE,
    BAD_CERTIFICATE: "the peer's certificate cannot be read",
    ILLEGAL_PARAMETER: "the peer chose what was not offered, or contradicts itself",
    DECODE_ERROR: "the peer sent a handshake message that cannot be read",
    DECRYPT_ERROR: (
        "the peer's signature is wrong: it does not have the key of its certificate, or the "
        "handshake was changed on its way"
    ),
    PROTOCOL_VERSION: "the peer speaks no version of TLS that is safe (1.2 or 1.3)",
    INTERNAL_ERROR: "the peer sent something that nobody has thought of",
    86: "the peer asked for an older version of TLS than both sides speak",
    109: "the peer left out what a handshake cannot do without",
}


def of_alert(number: int, peer: str) -> TLSError:
    """The error for a peer's alert. peer: its role."""
    name = NUMBERS.get(number, f"number {number}")
    return TLSError(f"the {peer} refused: {explain_alert(name)}", alert=name)


def tls_error(error: Exception, alert: int, peer: str) -> TLSError:
    """The error to raise for tlslite-ng's.

    alert: that the peer was told by. peer: its role.
    """
    if isinstance(error, TLSError):
        return error
    if isinstance(error, tlslite.errors.TLSRemoteAlert):
        told: Any = error
        return of_alert(int(told.description), peer)
    said = str(getattr(error, "message", "") or "")
    words = _SAID.get(said) or _ALERTED.get(alert)
    if words is None:
        words = f"the TLS connection failed: {NUMBERS.get(alert, alert)}".replace("_", " ")
    return TLSError(words)


def alert_for(error: Exception) -> int:
    """The alert for an error that tlslite-ng has sent none for.

    It lets some escape, and they come of what the peer sent.
    """
    known = tlslite.errors
    if isinstance(error, TLSError):
        # Of records: see there.
        return UNEXPECTED_MESSAGE
    for kind, alert in (
        (known.TLSIllegalParameterException, ILLEGAL_PARAMETER),
        (known.TLSDecryptionFailed, DECRYPT_ERROR),
        (known.TLSHandshakeFailure, HANDSHAKE_FAILURE),
        (known.TLSInsufficientSecurity, INSUFFICIENT_SECURITY),
        (known.TLSRecordOverflow, RECORD_OVERFLOW),
        (known.TLSDecodeError, DECODE_ERROR),
        (SyntaxError, DECODE_ERROR),
    ):
        if isinstance(error, kind):
            return alert
    return INTERNAL_ERROR
