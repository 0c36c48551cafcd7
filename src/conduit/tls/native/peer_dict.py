"""A peer's certificate as the standard library gives it, for `get_extra_info("peercert")`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509

__all__ = ["peer_dict"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ALTERNATIVES: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP Address",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "URI",
}


def peer_dict(der: bytes) -> dict[str, Any]:
    """What a certificate says, by the names that the standard library has for it.

    der: a certificate that was verified. What is in it of other kinds is left out.
    """
    certificate = x509.load_der_x509_certificate(der)
    found: dict[str, Any] = {
        "subject": _name(certificate.subject),
        "issuer": _name(certificate.issuer),
        "version": certificate.version.value + 1,
        "serialNumber": _hexadecimal(certificate.serial_number),
        "notBefore": _moment(certificate.not_valid_before_utc),
        "notAfter": _moment(certificate.not_valid_after_utc),
    }
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return found
    alternatives = tuple(
        (_ALTERNATIVES[type(one)], str(one.value)) for one in names if type(one) in _ALTERNATIVES
    )
    if alternatives:
        found["subjectAltName"] = alternatives
    return found


def _name(name: x509.Name) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(
        tuple((one.oid._name, str(one.value)) for one in part)  # pyright: ignore[reportPrivateUsage]
        for part in name.rdns
    )


def _hexadecimal(number: int) -> str:
    digits = f"{number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _moment(moment: datetime) -> str:
    # Not by strftime, which goes by the language of the user.
    return f"{_MONTHS[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S %Y} GMT"
