"""The names in a certificate (RFC 5280), as text that is safe to print.

A certificate is written by whoever wants to be believed. So nothing here lets a line end, a
control character, or one that turns the direction of writing, through to a message or a log.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from . import der
from .der import DerError, Reader

_COMMON_NAME = "2.5.4.3"

# As RFC 4514 writes them, and some more that are common.
_ATTRIBUTES = {
    _COMMON_NAME: "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}

# Which kind of string a tag says, as Python calls its encoding.
_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString, as everybody uses it
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """The name of a certificate's subject or issuer.

    text: in one line, as RFC 4514 writes it: the most specific part first. common_name: its last
    one, or None.
    """

    text: str
    common_name: str | None


def distinguished(encoded: bytes) -> DistinguishedName:
    """Read a Name. Raises DerError."""
    outside = Reader(encoded)
    sets = outside.read(der.SEQUENCE)
    outside.finish()
    shown: list[str] = []
    common_name: str | None = None
    while not sets.at_end:
        attributes = sets.read(der.SET)
        several: list[str] = []
        while not several or not attributes.at_end:
            attribute = attributes.read(der.SEQUENCE)
            kind = der.oid(attribute.read(der.OID))
            value = attribute.element()
            attribute.finish()
            text = _string(value)
            several.append(f"{_ATTRIBUTES.get(kind, kind)}={_rfc4514(text, value)}")
            if kind == _COMMON_NAME and text is not None:
                common_name = text
        shown.append("+".join(several))
    return DistinguishedName(
        ",".join(reversed(shown)), None if common_name is None else printable(common_name)
    )


@dataclass(slots=True)
class GeneralNames:
    """The names of a subjectAltName, by kind; those of other kinds are left out."""

    dns: list[str]
    ips: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
    emails: list[str]
    uris: list[str]


def general(inside: Reader) -> GeneralNames:
    """Read the GeneralNames in a SEQUENCE of at least one. Raises DerError."""
    names = GeneralNames([], [], [], [])
    while True:
        tag, value = inside.next()
        match tag:
            case 0x81:
                names.emails.append(_ia5(value))
            case 0x82:
                names.dns.append(_ia5(value))
            case 0x86:
                names.uris.append(_ia5(value))
            case 0x87:
                names.ips.append(_ip(value.rest))
            case _:
                pass
        if inside.at_end:
            return names


def subtrees(inside: Reader) -> list[str]:
    """Read the GeneralSubtrees of a name constraint: each as text. Raises DerError."""
    found: list[str] = []
    while not inside.at_end:
        subtree = inside.read(der.SEQUENCE)
        tag, value = subtree.next()
        match tag:
            case 0x81 | 0x82 | 0x86:
                found.append(_ia5(value))
            case 0x87:
                found.append(_network(value.rest))
            case 0xA4:
                found.append(distinguished(value.rest).text)
            case _:
                found.append("another kind of name")
    return found


def printable(text: str) -> str:
    """Text in which all that is not to be printed as it is stands in code, as in RFC 4514."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _string(element: bytes) -> str | None:
    """The text of a value of some kind of string; None if it is none."""
    tag, inside = Reader(element).next()
    try:
        return inside.rest.decode(_ENCODINGS.get(tag, "none"))
    except (LookupError, UnicodeDecodeError):
        return None


def _rfc4514(text: str | None, element: bytes) -> str:
    if text is None:
        return f"#{element.hex()}"
    if text.isalnum():
        return text
    shown = "".join(f"\\{char}" if char in '"+,;<>\\' else _shown(char) for char in text)
    if shown.endswith(" "):
        shown = f"{shown[:-1]}\\ "
    return f"\\{shown}" if shown.startswith((" ", "#")) and text != " " else shown


def _ia5(inside: Reader) -> str:
    """A name in ASCII. What no such name has is shown in code, and matches nothing then."""
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"\\{byte:02X}" for byte in inside.rest)


def _ip(data: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if len(data) not in (4, 16):
        raise DerError(f"an IP address of {len(data)} bytes")
    return ipaddress.ip_address(data)


def _network(data: bytes) -> str:
    if len(data) not in (8, 32):
        raise DerError(f"a network of {len(data)} bytes")
    half = len(data) // 2
    address, mask = _ip(data[:half]), int.from_bytes(data[half:], "big")
    ones = mask.bit_count()
    if mask == ((1 << ones) - 1) << (8 * half - ones):
        return f"{address}/{ones}"
    return f"{address}/{_ip(data[half:])}"
