"""Reading DER (ITU-T X.690), the encoding of certificates: strict, and in linear time.

Nothing here calls itself, so a nesting of any depth is as harmless as any other bytes: what is read
is decided by the reader and not by the data. All that is wrong is a `DerError`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OID = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

# Real ones have a dozen bytes or so, and a number of many thousand digits is slow to write.
_LONGEST_OID = 64

_UTC_TIME = re.compile(rb"\d{12}Z")
_GENERALIZED_TIME = re.compile(rb"\d{14}Z")


class DerError(ValueError):
    """Bytes that are not the DER expected."""


def tagged(number: int, *, constructed: bool = False) -> int:
    """The tag written as [number] in the standards."""
    return 0x80 | (0x20 if constructed else 0) | number


class Reader:
    """Reads the values that stand one after another in a part of some bytes.

    data: the bytes; by default all of them, from `at` up to `end`.
    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self._at = at
        self._end = len(data) if end is None else end

    @property
    def rest(self) -> bytes:
        """What has not been read."""
        return self._data[self._at : self._end]

    @property
    def at_end(self) -> bool:
        """Whether all has been read."""
        return self._at >= self._end

    def finish(self) -> None:
        """Raise DerError unless all has been read."""
        if not self.at_end:
            raise DerError(f"{self._end - self._at} bytes are left over at {self._at}")

    def peek(self) -> int | None:
        """The tag of what comes next, without reading it; None at the end."""
        return None if self.at_end else self._data[self._at]

    def next(self) -> tuple[int, Reader]:
        """Read whatever comes next: its tag and what is in it."""
        data, at, end = self._data, self._at, self._end
        if end - at < 2:
            raise DerError(f"a value is missing or cut short at {at}")
        tag, length = data[at], data[at + 1]
        if tag & 0x1F == 0x1F:
            raise DerError(f"a tag of many bytes at {at}")
        at += 2
        if length >= 0x80:
            # A length of more than four bytes is longer than any certificate; 0x80 is indefinite.
            count = length - 0x80
            if not 1 <= count <= 4 or end - at < count:
                raise DerError(f"a length that cannot be at {at - 1}")
            length = int.from_bytes(data[at : at + count], "big")
            if length < 0x80 or not data[at]:
                raise DerError(f"a length that is not in its shortest form at {at - 1}")
            at += count
        if length > end - at:
            raise DerError(f"a value of {length} bytes at {at}, where {end - at} are left")
        self._at = at + length
        return tag, Reader(data, at, at + length)

    def read(self, tag: int) -> Reader:
        """Read the next value, which must have this tag: what is in it."""
        at = self._at
        found, inside = self.next()
        if found != tag:
            raise DerError(f"tag {found:#04x} at {at}, where {tag:#04x} was expected")
        return inside

    def optional(self, tag: int) -> Reader | None:
        """Read the next value if it has this tag."""
        return self.read(tag) if self.peek() == tag else None

    def element(self) -> bytes:
        """Read whatever comes next: all its bytes, with tag and length."""
        start = self._at
        self.next()
        return self._data[start : self._at]


# Values: each reads what is in one, and must find nothing else there. -----------------------------


def boolean(inside: Reader) -> bool:
    """A BOOLEAN."""
    match inside.rest:
        case b"\xff":
            return True
        case b"\x00":
            return False
        case _:
            raise DerError("a BOOLEAN that is neither true nor false")


def integer(inside: Reader, longest: int) -> int:
    """An INTEGER. longest: how many bytes it may have."""
    data = inside.rest
    if not data or len(data) > longest:
        raise DerError(f"an INTEGER of {len(data)} bytes")
    if len(data) > 1 and (data[0], data[1] >> 7) in ((0x00, 0), (0xFF, 1)):
        raise DerError("an INTEGER that is not in its shortest form")
    return int.from_bytes(data, "big", signed=True)


def oid(inside: Reader) -> str:
    """An OBJECT IDENTIFIER, in dots: "2.5.4.3"."""
    data = inside.rest
    if not data or len(data) > _LONGEST_OID or data[-1] & 0x80:
        raise DerError(f"an OBJECT IDENTIFIER of {len(data)} bytes, or one cut short")
    arcs: list[int] = []
    value, begun = 0, False
    for byte in data:
        if byte == 0x80 and not begun:
            raise DerError("an OBJECT IDENTIFIER that is not in its shortest form")
        value, begun = value << 7 | byte & 0x7F, True
        if byte < 0x80:
            arcs.append(value)
            value, begun = 0, False
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def bits(inside: Reader) -> bytes:
    """A BIT STRING; those that it lacks in the last byte are 0."""
    data = inside.rest
    if not data or data[0] > 7 or (data[0] and len(data) == 1):
        raise DerError("a BIT STRING that cannot be")
    if data[0] and data[-1] & ((1 << data[0]) - 1):
        raise DerError("a BIT STRING with more bits than it says")
    return data[1:]


def time(reader: Reader) -> datetime:
    """Read the next value, a UTCTime or a GeneralizedTime as RFC 5280 allows them."""
    tag, inside = reader.next()
    text = inside.rest
    if tag == UTC_TIME and _UTC_TIME.fullmatch(text):
        text = (b"19" if text >= b"5" else b"20") + text
    elif tag != GENERALIZED_TIME or not _GENERALIZED_TIME.fullmatch(text):
        raise DerError("a time that RFC 5280 does not allow")
    digits = text.decode("ascii")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise DerError(f"a time that is none: {error}") from None
