"""What fields hold, by the rules of OCaml: strings, integers, truth values, IP addresses."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Generic, NoReturn, TypeVar

from .. import _fields as kind
from .._fields import IPAddress
from ..errors import AddressError, SexpError
from .node import Node
from .value import Sexp, canonical

T = TypeVar("T")


class Shape(ABC, Generic[T]):
    """How values of a type are written."""

    @abstractmethod
    def to_sexp(self, value: T) -> Sexp:
        """Write a value that is known to be of the type."""

    @abstractmethod
    def of_sexp(self, node: Node) -> T:
        """Read a value. Raises SexpError for what is none."""

    def match(self, node: Node) -> T:
        """Read a value; for variants, raises NoVariantMatch if the tag is none of the type's."""
        return self.of_sexp(node)

    def value_in(self, node: Node) -> Node:
        """The part of what was read that an error about the value shows."""
        return node


class _Scalar(Shape[T]):
    """What is written as an atom. name: as an error calls it."""

    name: str

    def of_sexp(self, node: Node) -> T:
        if not isinstance(node.sexp, str):
            raise node.refused(f"{self.name} is an atom, and this is a list")
        return self.read(node, node.sexp)

    @abstractmethod
    def read(self, node: Node, atom: str) -> T:
        """Read an atom."""


class _Text(_Scalar[str]):
    name = "a string"

    def to_sexp(self, value: str) -> Sexp:
        return canonical(value)

    def read(self, node: Node, atom: str) -> str:
        return str.__str__(atom)


class _Int(_Scalar[int]):
    name = "a number"

    def to_sexp(self, value: int) -> Sexp:
        if not -(1 << 62) <= value < 1 << 62:
            raise SexpError("a number of more than OCaml's 63 bits has no s-expression")
        return str(int(value))

    def read(self, node: Node, atom: str) -> int:
        number = integer(atom)
        if number is None:
            raise node.refused("this is no integer of 63 bits, as OCaml writes them")
        return number


class _Bool(_Scalar[bool]):
    name = "a truth value"

    def to_sexp(self, value: bool) -> Sexp:
        return "true" if value else "false"

    def read(self, node: Node, atom: str) -> bool:
        if atom in ("true", "True"):
            return True
        if atom in ("false", "False"):
            return False
        raise node.refused("this is neither true nor false")


class _Ip(_Scalar[IPAddress]):
    name = "an IP address"

    def to_sexp(self, value: IPAddress) -> Sexp:
        return ip_text(value)

    def read(self, node: Node, atom: str) -> IPAddress:
        address = ip_address(atom)
        if address is None:
            raise node.refused("this is no IP address")
        return address


class _Unreadable(Shape[Any]):
    """What is printed as a sign, and cannot be read."""

    def __init__(self, sign: str, what: str) -> None:
        self._sign = sign
        self._what = what

    def to_sexp(self, value: object) -> Sexp:
        return self._sign

    def of_sexp(self, node: Node) -> NoReturn:
        raise node.refused(f"{self._what} cannot be read from text")


TEXT = _Text()
INT = _Int()
BOOL = _Bool()
IP = _Ip()
OPAQUE = _Unreadable("<opaque>", "an open socket or channel")
FUNCTION = _Unreadable("<fun>", "a function")

# Integers, as OCaml's int_of_string ---------------------------------------------------------------

_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:(?P<base>0[xX](?=[0-9A-Fa-f])|0[oO](?=[0-7])|0[bB](?=[01])|0[uU](?=[0-9]))"
    r"(?P<digits>[0-9A-Fa-f_]+)|(?P<decimal>[0-9][0-9_]*))",
    re.ASCII,
)
_BASES = {"x": 16, "o": 8, "b": 2, "u": 10}


def integer(text: str) -> int | None:
    """The integer that a text is, of 63 bits; None for any other text."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    negative = found["sign"] == "-"
    digits = (found["digits"] or found["decimal"]).replace("_", "").lstrip("0") or "0"
    if len(digits) > 63:
        return None  # and not too many for int()
    if found["base"] is None:
        number = -int(digits) if negative else int(digits)
        return number if -(1 << 62) <= number < 1 << 62 else None
    try:
        number = int(digits, _BASES[found["base"][1].lower()])
    except ValueError:
        return None  # a digit too high for the base
    if number >= 1 << 63:
        return None
    if negative:
        number = -number
    # What has 63 bits without a sign is taken for them with one.
    return ((number + (1 << 62)) & ((1 << 63) - 1)) - (1 << 62)


# IP addresses, as OCaml's Ipaddr ------------------------------------------------------------------

_OCTET = r"(?:0|[1-9][0-9]*)"
_V4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_GROUP = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


def ip_address(text: str) -> IPAddress | None:
    """The IP address that a text is, also in brackets or with a zone; None for any other."""
    if len(text) > 1024:
        return None
    octets = _octets(text)
    if octets is not None:
        return IPv4Address(octets)
    if text.startswith("["):
        if not text.endswith("]"):
            return None
        text = text[1:-1]
    text, percent, zone = text.partition("%")
    number = _v6(text)
    if number is None:
        return None
    if not percent:
        return IPv6Address(number)
    try:
        return kind.ip(f"{IPv6Address(number)}%{zone}", (Node, "ip"))
    except AddressError:
        return None


def _octets(text: str) -> bytes | None:
    if not _V4.fullmatch(text):
        return None
    numbers = text.split(".")
    if any(len(number) > 3 or int(number) > 255 for number in numbers):
        return None
    return bytes(map(int, numbers))


def _v6(text: str) -> int | None:
    left, gap, right = text.partition("::")
    if ":" in right[:1] or "::" in right:
        return None
    before = _groups(left, may_end_v4=not gap)
    after = _groups(right, may_end_v4=True)
    if before is None or after is None:
        return None
    missing = 8 - len(before) - len(after)
    if (missing < 1) if gap else (missing != 0):
        return None
    number = 0
    for group in (*before, *[0] * missing, *after):
        number = number << 16 | group
    return number


def _groups(text: str, *, may_end_v4: bool) -> list[int] | None:
    if not text:
        return []
    *first, last = text.split(":")
    groups: list[int] = []
    octets = _octets(last) if may_end_v4 else None
    for group in first if octets else (*first, last):
        if not _GROUP.fullmatch(group) or len(group.lstrip("0")) > 4:
            return None
        groups.append(int(group, 16))
    if octets:
        groups += int.from_bytes(octets[:2]), int.from_bytes(octets[2:])
    return groups


def ip_text(address: IPAddress) -> str:
    """An IP address as text, by RFC 5952. Python's own differs between its versions."""
    if isinstance(address, IPv6Address) and int(address) >> 32 == 0xFFFF:
        zone = f"%{address.scope_id}" if address.scope_id else ""
        return f"::ffff:{IPv4Address(int(address) & 0xFFFFFFFF)}{zone}"
    return str(address)
