"""The alerts of TLS (RFC 8446, section 6; RFC 5246, section 7.2): what a peer means by one.

An alert is a number. Here it goes by the name that the standards give it, without the "_RESERVED"
of those that are no longer sent.
"""

from __future__ import annotations

import re

NUMBERS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}
"""Every alert by its number."""

_DAMAGED = "what it received was damaged, or changed on its way"
_MISUNDERSTOOD = (
    "it did not expect what this side sent; one of the two does not follow the standard"
)
_OLD = "an alert that today's TLS does not have"

_MEANINGS = {
    "close_notify": "it has said all it had to say",
    "unexpected_message": _MISUNDERSTOOD,
    "bad_record_mac": _DAMAGED,
    "decryption_failed": _DAMAGED,
    "record_overflow": _DAMAGED,
    "decompression_failure": _DAMAGED,
    "handshake_failure": (
        "the two sides have no cipher suite, group or kind of signature in common, or it wanted a "
        "certificate that this side did not show"
    ),
    "no_certificate": _OLD,
    "bad_certificate": (
        "it refused our certificate, which may be for another name, not valid yet, damaged, or of "
        "a key that is too weak"
    ),
    "unsupported_certificate": (
        "our certificate is not for this use (its extended key usage), or has a kind of key that "
        "it does not take"
    ),
    "certificate_revoked": "our certificate was revoked by its authority: get a new one",
    "certificate_expired": "our certificate has expired, or is not valid yet: see its dates",
    "certificate_unknown": "it does not accept our certificate, and does not say why",
    "illegal_parameter": _MISUNDERSTOOD,
    "unknown_ca": (
        "it does not trust the authority that issued our certificate, or our chain lacks an "
        "intermediate certificate"
    ),
    "access_denied": "our certificate is valid, but it does not let us in",
    "decode_error": _MISUNDERSTOOD,
    "decrypt_error": (
        "a signature or a check sum of the handshake is wrong: our certificate and our key may not "
        "belong together, or the handshake was changed on its way"
    ),
    "export_restriction": _OLD,
    "protocol_version": "it does not speak the versions of TLS that this side does (1.2 and 1.3)",
    "insufficient_security": "it wants stronger cipher suites or keys than this side offers",
    "internal_error": "it failed for a reason of its own; its log may say more",
    "inappropriate_fallback": "it speaks a newer version of TLS than this side asked for",
    "user_canceled": "it was told to end the handshake",
    "no_renegotiation": "it does not negotiate a second time",
    "missing_extension": _MISUNDERSTOOD,
    "unsupported_extension": _MISUNDERSTOOD,
    "certificate_unobtainable": "it could not fetch our certificate",
    "unrecognized_name": "it serves nobody of the name that was asked for (SNI)",
    "bad_certificate_status_response": "it did not accept our proof of no revocation (OCSP)",
    "bad_certificate_hash_value": "our certificate is not the one that was announced",
    "unknown_psk_identity": "it does not know the shared key that was offered",
    "certificate_required": "it wants a certificate of ours, and none was shown: give an own key",
    "no_application_protocol": "it speaks none of the protocols that were offered (ALPN)",
    "ech_required": "it wants the name encrypted (ECH)",
}

# How OpenSSL begins the reason of an error that is an alert of the peer: in capitals and with
# underscores where Python knows it, in small letters and with blanks where it does not.
_BEGINNING = re.compile(
    r"\b(?:SSLV3|TLSV13|TLSV1)[_ ](?:ALERT[_ ])?([A-Z]+(?:[_ ][A-Z]+)*)", re.IGNORECASE
)

_KNOWN = frozenset(NUMBERS.values())


def alert_of(said: str) -> str | None:
    """Find the peer's alert in what OpenSSL said.

    said: the `reason` of a `ssl.SSLError`; or all of it as a str where that is None, since Python
    does not know every reason.

    Returns the alert's name, as in `NUMBERS`; None for an error that is no alert.
    """
    found = _BEGINNING.search(said)
    if found is None:
        return None
    name = found[1].lower().replace(" ", "_").replace("cancelled", "canceled")
    return name if name in _KNOWN else None


def explain_alert(name: str) -> str:
    """What a peer that sent an alert means by it, in one line, with the alert's name."""
    meaning = _MEANINGS.get(name)
    return f"alert {name}" if meaning is None else f"{meaning} (alert {name})"
