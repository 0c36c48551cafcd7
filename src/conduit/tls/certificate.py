"""What an X.509 certificate says (RFC 5280), read for messages and facts.

Whether a chain is to be trusted is for a TLS stack to decide; this only reads. It takes any bytes,
gives a `Certificate` or raises `DerError`, and needs time in proportion to their number.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from .._fields import IPAddress
from . import der, key_kinds, x509_names
from .der import DerError, Reader
from .key_kinds import Key
from .x509_names import GeneralNames

__all__ = ["Certificate", "DerError", "Key", "Peer"]

Peer: TypeAlias = Literal["server", "client"]

LARGEST = 256 * 1024
"""Bytes of the largest certificate that is read."""

# RFC 5280 allows 20 bytes; some have more, but none has hundreds of digits.
_LONGEST_SERIAL = 64

_USAGES = {
    "2.5.29.37.0": "anyExtendedKeyUsage",
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
}

_KEY_USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    r"""What a certificate says. Made by `Certificate.read`; compared by its DER alone.

    der: the certificate. subject, issuer: their names, each in one line as RFC 4514 writes it.
    common_name: the subject's, or None. serial: its number. not_before, not_after: when it is
    valid, as aware datetimes. dns_names, ip_addresses, emails, uris: what it is for, from the
    subjectAltName. is_authority: whether it says that it may sign others; path_length: how many
    authorities may follow, None for any. usages: what it may be used for ("serverAuth",
    "clientAuth", ...), by name or in dots; none at all means for anything. key_usages: what its key
    may be used for ("digitalSignature", ...), none at all as before. permitted, excluded: the names
    that an authority may speak for, and may not. key: its public key. signature: how it is signed
    ("SHA-256 with RSA"). is_self_issued: whether its issuer is its subject.

    Every str is in one line and without control characters, whatever the certificate holds: what is
    not printable stands in code (`\0A`).
    """

    der: bytes
    subject: str = field(compare=False)
    issuer: str = field(compare=False)
    common_name: str | None = field(compare=False)
    serial: int = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    dns_names: tuple[str, ...] = field(compare=False)
    ip_addresses: tuple[IPAddress, ...] = field(compare=False)
    emails: tuple[str, ...] = field(compare=False)
    uris: tuple[str, ...] = field(compare=False)
    is_authority: bool = field(compare=False)
    path_length: int | None = field(compare=False)
    usages: tuple[str, ...] = field(compare=False)
    key_usages: tuple[str, ...] = field(compare=False)
    permitted: tuple[str, ...] = field(compare=False)
    excluded: tuple[str, ...] = field(compare=False)
    key: Key = field(compare=False)
    signature: str = field(compare=False)
    is_self_issued: bool = field(compare=False)

    @staticmethod
    def read(data: bytes) -> Certificate:
        """Read a certificate.

        data: all of it, in DER.

        Raises DerError, a ValueError, for anything else.
        """
        return _read(data)

    def __repr__(self) -> str:
        until = self.not_after.date().isoformat()
        shown = f"{_short(self.subject)} by {_short(self.issuer)} until {until}"
        return f"<Certificate {shown}, sha256 {self.sha256}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a server of this certificate may have: DNS names, then IP addresses."""
        return (*self.dns_names, *map(str, self.ip_addresses))

    @property
    def sha256(self) -> str:
        """The SHA-256 of its DER in hexadecimal, as `trust.fingerprint` takes it."""
        return hashlib.sha256(self.der).hexdigest()

    def matches(self, hostname: str) -> bool:
        """Whether it is for a name (RFC 9525).

        hostname: a DNS name, or an IP address, without brackets. An address is compared with the
        certificate's addresses, a name with its DNS names, without regard to case; a wildcard
        stands for exactly one label, the leftmost, before at least two others. The common name does
        not count. A name that is not ASCII is compared in its A-label form ("xn--...").
        """
        try:
            ip = ipaddress.ip_address(hostname).packed  # without the zone of an IPv6 address
        except ValueError:
            name = _ascii_name(hostname)
            return name is not None and any(_covers(own, name) for own in self.dns_names)
        return any(ip == own.packed for own in self.ip_addresses)

    def is_for(self, peer: Peer) -> bool:
        """Whether it may be used by a TLS server, or by a TLS client, so far as its usages say."""
        needed = "serverAuth" if peer == "server" else "clientAuth"
        if self.usages and needed not in self.usages:
            return False
        signs = {"digitalSignature", "keyAgreement"}
        if peer == "server":
            signs.add("keyEncipherment")
        return not self.key_usages or not signs.isdisjoint(self.key_usages)


# Reading ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Extensions:
    """What is read from the extensions."""

    names: GeneralNames = field(default_factory=lambda: GeneralNames([], [], [], []))
    is_authority: bool = False
    path_length: int | None = None
    usages: list[str] = field(default_factory=list[str])
    key_usages: list[str] = field(default_factory=list[str])
    permitted: list[str] = field(default_factory=list[str])
    excluded: list[str] = field(default_factory=list[str])


def _read(data: bytes) -> Certificate:
    if len(data) > LARGEST:
        raise DerError(f"a certificate of {len(data)} bytes")
    outside = Reader(data)
    certificate = outside.read(der.SEQUENCE)
    outside.finish()
    signed = certificate.read(der.SEQUENCE)
    signature = key_kinds.signature(certificate.read(der.SEQUENCE))
    der.bits(certificate.read(der.BIT_STRING))
    certificate.finish()

    _version(signed)
    serial = der.integer(signed.read(der.INTEGER), _LONGEST_SERIAL)
    signed.read(der.SEQUENCE)  # how it is signed, a second time
    issuer = signed.element()
    validity = signed.read(der.SEQUENCE)
    not_before, not_after = der.time(validity), der.time(validity)
    validity.finish()
    subject = signed.element()
    key = key_kinds.public_key(signed.read(der.SEQUENCE))
    for number in (1, 2):  # unique identifiers, which nobody uses
        signed.optional(der.tagged(number))
    extensions = _extensions(signed)
    signed.finish()

    holder = x509_names.distinguished(subject)
    return Certificate(
        der=bytes(data),
        subject=holder.text,
        issuer=x509_names.distinguished(issuer).text,
        common_name=holder.common_name,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        dns_names=tuple(extensions.names.dns),
        ip_addresses=tuple(extensions.names.ips),
        emails=tuple(extensions.names.emails),
        uris=tuple(extensions.names.uris),
        is_authority=extensions.is_authority,
        path_length=extensions.path_length,
        usages=tuple(extensions.usages),
        key_usages=tuple(extensions.key_usages),
        permitted=tuple(extensions.permitted),
        excluded=tuple(extensions.excluded),
        key=key,
        signature=signature,
        is_self_issued=subject == issuer,
    )


def _version(signed: Reader) -> None:
    inside = signed.optional(der.tagged(0, constructed=True))
    if inside is not None:
        version = der.integer(inside.read(der.INTEGER), 1)
        inside.finish()
        if not 0 <= version <= 2:
            raise DerError(f"a certificate of version {version + 1}")


def _extensions(signed: Reader) -> _Extensions:
    found = _Extensions()
    inside = signed.optional(der.tagged(3, constructed=True))
    if inside is None:
        return found
    extensions = inside.read(der.SEQUENCE)
    inside.finish()
    seen: set[str] = set()
    while not extensions.at_end:
        extension = extensions.read(der.SEQUENCE)
        kind = der.oid(extension.read(der.OID))
        if kind in seen:
            raise DerError(f"the extension {kind} a second time")
        seen.add(kind)
        critical = extension.optional(der.BOOLEAN)
        if critical is not None:
            der.boolean(critical)
        value = extension.read(der.OCTET_STRING)
        extension.finish()
        take = _KNOWN.get(kind)
        if take is not None:
            take(value, found)
            value.finish()
    return found


def _take_names(value: Reader, found: _Extensions) -> None:
    found.names = x509_names.general(value.read(der.SEQUENCE))


def _take_basic_constraints(value: Reader, found: _Extensions) -> None:
    basic = value.read(der.SEQUENCE)
    is_authority = basic.optional(der.BOOLEAN)
    found.is_authority = is_authority is not None and der.boolean(is_authority)
    length = basic.optional(der.INTEGER)
    if length is not None:
        found.path_length = der.integer(length, 8)
    basic.finish()


def _take_usages(value: Reader, found: _Extensions) -> None:
    usages = value.read(der.SEQUENCE)
    while not found.usages or not usages.at_end:
        usage = der.oid(usages.read(der.OID))
        found.usages.append(_USAGES.get(usage, usage))


def _take_key_usages(value: Reader, found: _Extensions) -> None:
    flags = der.bits(value.read(der.BIT_STRING))
    found.key_usages += [
        name
        for number, name in enumerate(_KEY_USAGES)
        if number // 8 < len(flags) and flags[number // 8] & 0x80 >> number % 8
    ]


def _take_constraints(value: Reader, found: _Extensions) -> None:
    constraints = value.read(der.SEQUENCE)
    for number, names in ((0, found.permitted), (1, found.excluded)):
        inside = constraints.optional(der.tagged(number, constructed=True))
        if inside is not None:
            names += x509_names.subtrees(inside)
    constraints.finish()


_KNOWN = {
    "2.5.29.15": _take_key_usages,
    "2.5.29.17": _take_names,
    "2.5.29.19": _take_basic_constraints,
    "2.5.29.30": _take_constraints,
    "2.5.29.37": _take_usages,
}


# Matching -----------------------------------------------------------------------------------------


def _ascii_name(hostname: str) -> str | None:
    """A name as certificates have it, in lower case; None for what is no DNS name."""
    if len(hostname) > 255:
        return None
    try:
        name = hostname if hostname.isascii() else hostname.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    name = name.lower().removesuffix(".")
    # What ends in a number is an address in an odd form, such as 127.1; no name is.
    return None if not _is_name(name) or name.rpartition(".")[2].isdigit() else name


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 253 and all(
        0 < len(label) <= 63 and label.replace("-", "a").replace("_", "a").isalnum()
        for label in name.split(".")
    )


def _covers(own: str, name: str) -> bool:
    """Whether a DNS name of a certificate is, or stands for, a name in lower case."""
    own = own.lower()
    if not own.startswith("*."):
        return own == name
    # As OpenSSL has it: not above a top-level domain, and for names of hosts alone.
    _, _, rest = name.partition(".")
    labels = rest.split(".")
    return (
        own[2:] == rest
        and len(labels) >= 2
        and "_" not in name
        and not any(label.startswith("-") or label.endswith("-") for label in labels)
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
