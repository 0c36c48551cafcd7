"""Options of the call: what a text may say beside the address, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from .._fields import IPAddress
from .mistakes import mistake, part
from .query import Raw, coded, listed

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a text says of the call that connects; None where it says nothing.

    src: local addresses to connect from, at most one of each family.
    alpn: protocols to offer, the preferred one first.
    timeout: seconds for everything until the connection stands, more than 0.
    keepalive: seconds of silence after which TCP asks whether the peer is still there.
    ca: files of the certificates that are trusted, in place of the system's.
    fingerprint: SHA-256 of the certificates that are accepted, each of 64 small hex digits.
    """

    src: tuple[IPAddress, ...] | None = None
    alpn: tuple[str, ...] | None = None
    timeout: float | None = None
    keepalive: int | None = None
    ca: tuple[str, ...] | None = None
    fingerprint: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What a text says of the call that serves; None where it says nothing.

    alpn: protocols to accept, the preferred one first.
    backlog: how many clients may wait to be accepted, 1 or more.
    reuse_port: whether other processes may listen on the same port.
    unix_mode: permission bits of the socket's file.
    timeout: seconds that a handler may live in all, more than 0.
    keepalive: seconds of silence after which TCP asks whether the peer is still there.
    ca: files of the certificates that sign those of clients.
    fingerprint: SHA-256 of the clients' certificates, each of 64 small hex digits.
    """

    alpn: tuple[str, ...] | None = None
    backlog: int | None = None
    reuse_port: bool | None = None
    unix_mode: int | None = None
    timeout: float | None = None
    keepalive: int | None = None
    ca: tuple[str, ...] | None = None
    fingerprint: tuple[str, ...] | None = None


def client_options(text: str, options: dict[str, Raw]) -> ClientOptions:
    """Read those that are about connecting."""
    return ClientOptions(
        src=_read(text, options, "src", _src),
        alpn=_read(text, options, "alpn", _alpn),
        timeout=_read(text, options, "timeout", _timeout),
        keepalive=_read(text, options, "keepalive", _keepalive),
        ca=_read(text, options, "ca", _ca),
        fingerprint=_read(text, options, "fingerprint", _fingerprint),
    )


def server_options(text: str, options: dict[str, Raw]) -> ServerOptions:
    """Read those that are about serving."""
    return ServerOptions(
        alpn=_read(text, options, "alpn", _alpn),
        backlog=_read(text, options, "backlog", _backlog),
        reuse_port=_read(text, options, "reuse_port", _reuse_port),
        unix_mode=_read(text, options, "unix_mode", _unix_mode),
        timeout=_read(text, options, "timeout", _timeout),
        keepalive=_read(text, options, "keepalive", _keepalive),
        ca=_read(text, options, "ca", _ca),
        fingerprint=_read(text, options, "fingerprint", _fingerprint),
    )


def _read(
    text: str, options: dict[str, Raw], name: str, value_of: Callable[[str, Raw], T]
) -> T | None:
    raw = options.get(name)
    return None if raw is None else value_of(text, raw)


# Values -------------------------------------------------------------------------------------------

_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15}")
_COUNT = re.compile(r"[0-9]{1,15}")
_OCTAL = re.compile(r"(?:0o)?([0-7]{1,5})")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")


def _src(text: str, raw: Raw) -> tuple[IPAddress, ...]:
    found: list[IPAddress] = []
    for value, at in listed(text, raw):
        try:
            address = ip_address(value)
        except ValueError:
            raise mistake(text, at, f"src {part(value)} is not an IP address") from None
        if any(address.version == other.version for other in found):
            why = f"src has an IPv{address.version} address already"
            raise mistake(text, at, why)
        found.append(address)
    return tuple(found)


def _alpn(text: str, raw: Raw) -> tuple[str, ...]:
    found: list[str] = []
    for value, at in listed(text, raw):
        if not 0 < len(value) < 256 or not value.isascii() or not value.isprintable():
            why = f"alpn {part(value)} is no protocol: 1 to 255 printable ASCII characters"
            raise mistake(text, at, why)
        if value in found:
            raise mistake(text, at, f"alpn names {part(value)} twice")
        found.append(value)
    return tuple(found)


def _timeout(text: str, raw: Raw) -> float:
    value = coded(text, *raw)
    if not _SECONDS.fullmatch(value):
        why = f"timeout {part(value)} is no number of seconds, such as 5 or 0.5"
        raise mistake(text, raw.at, why)
    seconds = float(value)
    if not seconds:
        raise mistake(text, raw.at, "timeout must be more than 0")
    return seconds


def _keepalive(text: str, raw: Raw) -> int:
    return _count(text, raw, "keepalive", 0x7FFF)  # what Linux takes


def _backlog(text: str, raw: Raw) -> int:
    return _count(text, raw, "backlog", 0x7FFF_FFFF)


def _count(text: str, raw: Raw, name: str, highest: int) -> int:
    value = coded(text, *raw)
    if not _COUNT.fullmatch(value):
        raise mistake(text, raw.at, f"{name} {part(value)} is no whole number")
    if not 1 <= int(value) <= highest:
        raise mistake(text, raw.at, f"{name} {value} is outside 1..{highest}")
    return int(value)


def _reuse_port(text: str, raw: Raw) -> bool:
    value = coded(text, *raw)
    if value not in ("true", "false"):
        raise mistake(text, raw.at, f"reuse_port is true or false, not {part(value)}")
    return value == "true"


def _unix_mode(text: str, raw: Raw) -> int:
    value = coded(text, *raw)
    found = _OCTAL.fullmatch(value)
    if found is None or int(found[1], 8) > 0o777:
        why = f"unix_mode {part(value)} is no file mode: octal, 0 to 777, such as 660"
        raise mistake(text, raw.at, why)
    return int(found[1], 8)


def _ca(text: str, raw: Raw) -> tuple[str, ...]:
    found: list[str] = []
    for value, at in listed(text, raw):
        if not value or "\0" in value or "-----BEGIN" in value:
            raise mistake(text, at, "ca must be the path of a file of certificates")
        found.append(value)
    return tuple(found)


def _fingerprint(text: str, raw: Raw) -> tuple[str, ...]:
    found: list[str] = []
    for value, at in listed(text, raw):
        if not _SHA256.fullmatch(value):
            why = f"fingerprint {part(value)} is no SHA-256: 64 hex digits, with or without colons"
            raise mistake(text, at, why)
        found.append(value.replace(":", "").lower())
    return tuple(found)
