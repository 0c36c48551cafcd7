r"""The PROXY protocol, versions 1 and 2: who a connection comes from, told by the proxy in between.

A proxy sends one header before anything else, and the header is believed: only peers that are known
to be such proxies may be asked for one. This follows the specification of HAProxy
(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Nothing here does I/O: `wanted` says
how many bytes more to read, so that not one of those behind the header is taken, and `parse` reads
the whole.

    header = Header(Peer(ip_address("192.0.2.1"), 4711), Peer(ip_address("192.0.2.2"), 443))
    header.v1()  # b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ._fields import IPAddress
from .errors import ConduitError

__all__ = ["LONGEST_V1", "LONGEST_V2", "Header", "Peer", "ProxyProtocolError", "parse", "wanted"]

LONGEST_V1 = 107
"""Bytes of the longest header of version 1, its CRLF included."""

LONGEST_V2 = 4096
"""Bytes of the longest header of version 2 that is read; its format would allow 65,551."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_SHORTEST_V1 = len(b"PROXY UNKNOWN\r\n")
_FIXED_V2 = 16

_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN( [^\r\n]*)?")

_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
# How many bytes the addresses of each family have.
_SIZES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}
_PATH = 108

_CRC32C = 0x03


class ProxyProtocolError(ConduitError, ValueError):
    """Bytes that are no header of the PROXY protocol; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a TCP connection.

    ip: its address, without a zone. port: 0 to 65535.
    """

    ip: IPAddress
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 0xFFFF:
            raise ValueError(f"port {self.port} is outside 0..65535")


@dataclass(frozen=True, slots=True)
class Header:
    """What a proxy says of a connection.

    source, destination: who opened it, and what was reached at the proxy; both `Peer`, of one
    family, or both paths of Unix sockets, in bytes, of 108 at most and perhaps empty; or both None:
    the proxy does not say. local: the connection is the proxy's own (version 2 only), such as a
    look whether the server is alive. tlvs: what else it says, pairs of a type and its value, in
    order (version 2 only; the checksum, which is checked, is not among them).

    Raises ValueError for ends that do not go together.
    """

    source: Peer | bytes | None = None
    destination: Peer | bytes | None = None
    local: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        match self.source, self.destination:
            case (Peer() as one, Peer() as other) if one.ip.version == other.ip.version:
                pass
            case (bytes() as one, bytes() as other) if max(len(one), len(other)) <= _PATH:
                # The format pads with NUL, so it cannot say one at the end.
                if one.endswith(b"\0") or other.endswith(b"\0"):
                    raise ValueError("a path cannot end in NUL")
            case (None, None):
                pass
            case _:
                raise ValueError("source and destination must be of one family, or both None")
        for kind, _ in self.tlvs:
            if not 0 <= kind <= 0xFF or kind == _CRC32C:
                raise ValueError(f"a TLV cannot have the type {kind}")

    def v1(self) -> bytes:
        """The header in version 1. It cannot say more than TCP: all else is UNKNOWN."""
        one, other = self.source, self.destination
        if not isinstance(one, Peer) or not isinstance(other, Peer):
            return b"PROXY UNKNOWN\r\n"
        family = f"TCP{'4' if one.ip.version == 4 else '6'}"
        ends = f"{_bare(one.ip)} {_bare(other.ip)} {one.port} {other.port}"
        return f"PROXY {family} {ends}\r\n".encode("ascii")

    def v2(self) -> bytes:
        """The header in version 2. Raises ValueError for TLVs that are too much for it."""
        family, ends = self._ends()
        try:
            more = b"".join(
                struct.pack("!BH", kind, len(value)) + value for kind, value in self.tlvs
            )
        except struct.error:
            more = bytes(LONGEST_V2)
        if _FIXED_V2 + len(ends) + len(more) > LONGEST_V2:
            raise ValueError(f"the TLVs make a header longer than {LONGEST_V2} bytes")
        command = _LOCAL if self.local else _PROXY
        return _V2 + struct.pack("!BBH", command, family, len(ends) + len(more)) + ends + more

    def _ends(self) -> tuple[int, bytes]:
        one, other = self.source, self.destination
        if isinstance(one, Peer) and isinstance(other, Peer):
            family = _TCP4 if one.ip.version == 4 else _TCP6
            ports = struct.pack("!HH", one.port, other.port)
            return family, one.ip.packed + other.ip.packed + ports
        if isinstance(one, bytes) and isinstance(other, bytes):
            return _UNIX, one.ljust(_PATH, b"\0") + other.ljust(_PATH, b"\0")
        return _UNSPECIFIED, b""


def wanted(data: bytes) -> int:
    """How many bytes of a header are surely still to come; 0 when it is complete.

    data: what has been read of the connection, from its first byte; nothing behind the header.

    Raises ProxyProtocolError as soon as it cannot become a header.
    """
    start = data[: len(_V2)]
    if not (_V2.startswith(start) or _V1.startswith(start[: len(_V1)])):
        raise ProxyProtocolError(f"no PROXY header: the connection begins with {start[:12]!r}")
    if len(data) < len(_V2):
        return len(_V2) - len(data)
    if start == _V2:
        return _wanted_v2(data)
    if data.endswith(b"\r\n"):
        return 0
    if b"\n" in data or b"\r" in data[:-1]:
        raise ProxyProtocolError("a PROXY header of version 1 with a line end that is no CRLF")
    if len(data) >= LONGEST_V1:
        raise ProxyProtocolError(f"a PROXY header of version 1 of more than {LONGEST_V1} bytes")
    return max(_SHORTEST_V1 - len(data), 1 if data.endswith(b"\r") else 2)


def parse(data: bytes) -> Header:
    """Read a header.

    data: all of it and nothing behind it, as `wanted` has it.

    Raises ProxyProtocolError for anything else.
    """
    if wanted(data):
        raise ProxyProtocolError(f"a PROXY header that ends after {len(data)} bytes")
    return _parse_v2(data) if data.startswith(_V2) else _parse_v1(data)


# Version 1 ----------------------------------------------------------------------------------------


def _parse_v1(data: bytes) -> Header:
    line = data.removesuffix(b"\r\n")
    if len(data) > LONGEST_V1:
        raise ProxyProtocolError(f"a PROXY header of version 1 of more than {LONGEST_V1} bytes")
    if _UNKNOWN.fullmatch(line):
        return Header()
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProxyProtocolError(f"a PROXY header of version 1 that is none: {line!r}")
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        source = Peer(kind(found[2].decode("ascii")), int(found[4]))
        destination = Peer(kind(found[3].decode("ascii")), int(found[5]))
    except ValueError as error:
        raise ProxyProtocolError(f"a PROXY header of version 1: {error}") from None
    return Header(source, destination)


def _bare(ip: IPAddress) -> str:
    """An address without its zone, which means nothing elsewhere."""
    return str(ip).partition("%")[0]


# Version 2 ----------------------------------------------------------------------------------------


def _wanted_v2(data: bytes) -> int:
    if len(data) < _FIXED_V2:
        return _FIXED_V2 - len(data)
    if data[12] >> 4 != 2:
        raise ProxyProtocolError(f"a PROXY header of version {data[12] >> 4}; 1 and 2 are known")
    whole = _FIXED_V2 + int.from_bytes(data[14:16], "big")
    if whole > LONGEST_V2:
        raise ProxyProtocolError(f"a PROXY header of {whole} bytes; {LONGEST_V2} are allowed")
    if len(data) > whole:
        raise ProxyProtocolError(f"{len(data) - whole} bytes behind a PROXY header")
    return whole - len(data)


def _parse_v2(data: bytes) -> Header:
    command, family = data[12], data[13]
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"a PROXY header with the command {command & 0x0F}")
    if command == _LOCAL:
        return Header(local=True)  # a receiver is to look at nothing else
    size = _SIZES.get(family)
    if size is None:
        raise ProxyProtocolError(f"a PROXY header for the family {family:#04x}, which is no stream")
    body = data[_FIXED_V2:]
    if len(body) < size:
        raise ProxyProtocolError(f"a PROXY header with {len(body)} of {size} bytes of addresses")
    tlvs: list[tuple[int, bytes]] = []
    for kind, value, at in _tlvs(data, _FIXED_V2 + size) if family != _UNSPECIFIED else ():
        if kind == _CRC32C:
            _check_sum(data, value, at)
        else:
            tlvs.append((kind, value))
    source, destination = _ends_v2(family, body)
    return Header(source, destination, tlvs=tuple(tlvs))


def _ends_v2(
    family: int, body: bytes
) -> tuple[Peer, Peer] | tuple[bytes, bytes] | tuple[None, None]:
    if family == _TCP4:
        one, other, *ports = struct.unpack_from("!4s4sHH", body)
        return Peer(IPv4Address(one), ports[0]), Peer(IPv4Address(other), ports[1])
    if family == _TCP6:
        one, other, *ports = struct.unpack_from("!16s16sHH", body)
        return Peer(IPv6Address(one), ports[0]), Peer(IPv6Address(other), ports[1])
    if family == _UNIX:
        return body[:_PATH].rstrip(b"\0"), body[_PATH : 2 * _PATH].rstrip(b"\0")
    return None, None


def _tlvs(data: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """The type, the value, and where the value begins, of each TLV."""
    while at < len(data):
        if len(data) - at < 3:
            raise ProxyProtocolError("a PROXY header whose last TLV is cut short")
        kind, size = struct.unpack_from("!BH", data, at)
        at += 3
        if len(data) - at < size:
            raise ProxyProtocolError("a PROXY header whose last TLV is cut short")
        yield kind, data[at : at + size], at
        at += size


def _check_sum(data: bytes, value: bytes, at: int) -> None:
    blank = data[:at] + bytes(len(value)) + data[at + len(value) :]
    if len(value) != 4 or int.from_bytes(value, "big") != crc32c(blank):
        raise ProxyProtocolError("a PROXY header whose checksum is wrong")


def crc32c(data: bytes) -> int:
    """The checksum CRC-32C (RFC 3720, appendix B.4) of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
