"""Percent-coding of the parts of a text, lossless for every str.

A run of codes stands for bytes, and these for UTF-8. Bytes that are no UTF-8 become the halves of
surrogate pairs that `os.fsdecode` makes of them, so that `unix:/run/%FF` is the file of that name.
"""

from __future__ import annotations

import re
from itertools import groupby

_RUN = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")

PATH = frozenset(' "#%<>?[\\]^`{|}')
"""What is written in code everywhere: what no URI has, and what separates its parts."""

SEGMENT = PATH | {"/"}
"""What is written in code before a slash that separates."""

VALUE = PATH | frozenset("&+,")
"""... in the value of an option. A "+" is read as it stands, but others read it as a blank."""

_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

HOST = PATH | _CAPITALS | frozenset("/:@*")
"""... in a host name. A capital in plain text is read as the small letter."""

HOSTNAME = VALUE | _CAPITALS
"""... in a host name that is the value of an option."""

ZONE = HOST - _CAPITALS
"""... in the zone of an IPv6 address."""

_SMALL = {ord(letter): letter.lower() for letter in _CAPITALS}


def encode(text: str, coded: frozenset[str]) -> str:
    """Write in code the characters of `coded` and all that cannot be seen."""
    if coded.isdisjoint(text) and text.isprintable():
        return text
    runs = groupby(text, lambda char: char in coded or not char.isprintable())
    return "".join(in_code("".join(run)) if hidden else "".join(run) for hidden, run in runs)


def in_code(text: str) -> str:
    """Write all of it in code."""
    try:
        data = text.encode("utf-8", "surrogateescape")
        if _read(data) != text:
            # Halves of pairs that, as bytes, would be read as something else.
            data = text.encode("utf-8", "surrogatepass")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return "%" + data.hex("%").upper()


def decode(text: str) -> str:
    """Read the codes. What follows a "%" must be two hexadecimal digits: see `malformed`."""
    if "%" not in text:
        return text
    return _RUN.sub(lambda run: _read(bytes.fromhex(run[0].replace("%", ""))), text)


def malformed(text: str) -> int | None:
    """Where there is a "%" that starts no code."""
    if "%" not in text:
        return None
    found = _MALFORMED.search(text)
    return None if found is None else found.start()


def small(text: str) -> str:
    """Make the capitals of ASCII small. Others are left to those who know of IDNA."""
    return text.lower() if text.isascii() else text.translate(_SMALL)


def _read(data: bytes) -> str:
    for errors in ("strict", "surrogatepass"):
        try:
            return data.decode("utf-8", errors)
        except UnicodeDecodeError:
            pass
    return data.decode("utf-8", "surrogateescape")
