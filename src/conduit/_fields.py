"""What a field of an address may hold, and how a value made of fields prints.

Every kind of field is one function here: it takes a value and where it stands (`client.TCP`, its
`port`), and returns the plain value to keep, or raises `AddressError`. `check` runs them for one
object.

What the reference's types can say is kept wherever it is not refused by name in the design: an odd
name that no peer will ever have (`TLS("a b", ...)`) still reads and prints, and fails when it is
used. Kinds of our own (`host`, `systemd_name`, `cid`) are as strict as what they name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import lru_cache
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, cast, get_args

from .errors import AddressError

if TYPE_CHECKING:
    from types import UnionType

IPAddress: TypeAlias = IPv4Address | IPv6Address
"""What a field called `ip` holds."""

Path: TypeAlias = str | os.PathLike[str]
"""What a field that names a file is made from; it holds a str."""

Password: TypeAlias = Callable[[bool], str]
"""A function of one bool that returns the password of a key; called in a thread."""


_TEXTS = "conduit.text.printer"


class Record:
    """The base of the addresses, flows and keys: how they print, and nothing else.

    `repr` reads back, given `from conduit import client` (or `server`, `endp`, `flow`), unless a
    field holds a channel, a socket or a function. What is printed never holds a password.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # every subclass is a dataclass
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __repr__(self) -> str:
        shown: list[str] = []
        by_name = False  # what follows a field given by name must be given by name as well
        for field in fields(self):
            value: object = getattr(self, field.name)
            if not field.repr or (field.kw_only and value is field.default):
                continue
            if field.name == "password":
                # A function's own repr may hold the secret: functools.partial shows its arguments.
                by_name, text = True, "None" if value is None else "<function>"
            else:
                text = self._repr_of(value)
            shown.append(f"{field.name}={text}" if by_name or field.kw_only else text)
        return f"{name_of(type(self))}({', '.join(shown)})"

    def __str__(self) -> str:
        """The text of an address (`tcp://127.0.0.1:80`); of what has none, the repr.

        It never raises, since logs and errors are made of it.
        """
        try:
            # By name, as the transports are found: what writes texts knows of all addresses.
            return str(import_module(_TEXTS).text_or_repr(self))
        except Exception:
            # Nested too deep, a number too long to print, an interpreter that is shutting down.
            return f"{name_of(type(self))}(...)"

    def _repr_inside(self) -> str:
        """How it prints as a part of another record."""
        return repr(self)

    @staticmethod
    def _repr_of(value: object) -> str:
        if isinstance(value, Record):
            return value._repr_inside()
        return repr(str(value)) if isinstance(value, IPAddress) else repr(value)


Where: TypeAlias = tuple[type, str]
"""Where a value stands: the class of its record, and its part. Text is made of it for errors only,
since a field is checked each time that a connection is made."""

Kind: TypeAlias = Callable[[object, Where], object]
"""What a field may hold: a function of the value and where it stands."""

R = TypeVar("R", bound=Record)


def name_of(cls: type) -> str:
    """A class as a user writes it: `client.TCP`, and `OwnKey`, which is exported at the top."""
    package, _, module = cls.__module__.rpartition(".")
    return f"{module}.{cls.__qualname__}" if package == "conduit" else cls.__qualname__


def check(record: Record, **kinds: Kind) -> None:
    """Replace the named fields by what their kinds make of them.

    Raises AddressError for what a field cannot hold; the message names it and its constructor.
    """
    owner = type(record)
    for part, kind in kinds.items():
        value = kind(getattr(record, part), (owner, part))
        object.__setattr__(record, part, value)  # the records are frozen


def check_ip_and_port(record: Record) -> None:
    """As `check` for a record with these two, of which programs make one for each connection."""
    parts: Any = record
    address, number = parts.ip, parts.port
    if type(address) is not IPv4Address:
        known = _read_ip(address) if type(address) is str else None
        if known is None:
            known = ip(address, (type(record), "ip"))
        object.__setattr__(record, "ip", known)
    if type(number) is not int or not 0 <= number <= 0xFFFF:
        object.__setattr__(record, "port", port(number, (type(record), "port")))


def unchecked(cls: type[R], **fields: object) -> R:
    """A record of fields that are known to be right, such as what a socket says of its peer.

    Not by the constructor, whose checks would cost a server more than all else that it makes of a
    connection.
    """
    record = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(record, name, value)
    return record


# Numbers ------------------------------------------------------------------------------------------


def port(value: object, where: Where) -> int:
    """A TCP port; 0 lets the system choose where it is listened on."""
    return _int(value, where, 0xFFFF)


def vsock_port(value: object, where: Where) -> int:
    """A vsock port, of 32 bits."""
    return _int(value, where, 0xFFFF_FFFF)


def cid(value: object, where: Where) -> int:
    """A vsock context identifier, of 32 bits."""
    return _int(value, where, 0xFFFF_FFFF)


def domid(value: object, where: Where) -> int:
    """A Xen domain identifier. Xen's have 16 bits, the reference's 62: the transport knows."""
    return _int(value, where)


def fd(value: object, where: Where) -> int:
    """A file descriptor."""
    if hasattr(value, "fileno"):
        raise refusal(where, f"must be an int, not {_seen(value)}; hand it over by its detach()")
    return _int(value, where)


# Names --------------------------------------------------------------------------------------------


def name(value: object, where: Where) -> str:
    """A str without NUL: a vchan's domain or port, a launchd socket, a reason."""
    if not isinstance(value, str):
        raise refusal(where, f"must be a str, not {_seen(value)}")
    if "\0" in value:
        raise refusal(where, f"{_seen(value)} holds a NUL")
    return str.__str__(value)  # an enum's member or the like becomes what it equals


def hostname(value: object, where: Where) -> str:
    """The name a TLS certificate is checked against: a DNS name or an IP address, as a str."""
    value = name(value, where)
    if not value:
        raise refusal(where, "is empty")
    return value


def host(value: object, where: Where) -> str:
    """What the resolver is asked for: a DNS name, or an IP address as a str."""
    value = hostname(value, where)
    if _read_ip(value) is not None:
        return value
    if value.startswith("[") and value.endswith("]"):
        raise refusal(where, f"{_seen(value)} has brackets: write {value[1:-1]!r}")
    if len(value) > 255:
        raise refusal(where, f"{_seen(value)} is longer than a DNS name can be")
    for char in value:
        if char in ":/@?#[]%*\\":  # more than a name: "db:5432", "http://db", "*"
            raise refusal(where, f"{_seen(value)} holds {char!r}; give the name alone")
        if _is_blank(char):
            raise refusal(where, f"{_seen(value)} holds {char!r}, which no host name has")
    return value


def systemd_name(value: object, where: Where) -> str | None:
    """A name of LISTEN_FDNAMES, which separates them by colons; None stands for all."""
    if value is None:
        return None
    value = name(value, where)
    if not value or ":" in value or not value.isascii() or not value.isprintable():
        raise refusal(
            where, f"{_seen(value)} is no FileDescriptorName: printable ASCII without ':'"
        )
    return value


# Files and keys -----------------------------------------------------------------------------------


def path(value: object, where: Where) -> str:
    """A Unix socket's path as a str; a leading "@" means Linux's abstract namespace."""
    value = _fspath(value, where)
    if isinstance(value, str) and value.startswith("\0"):
        raise refusal(where, f"{_seen(value)} starts with a NUL: write an abstract name as '@NAME'")
    return name(value, where)


def file(value: object, where: Where) -> str:
    """A file's path as a str."""
    value = _fspath(value, where)
    if isinstance(value, str) and "-----BEGIN" in value:
        # Not shown, here or in a repr: it may be the private key.
        raise refusal(where, "holds PEM text; give the path of a file that holds it")
    return name(value, where)


def password(value: object, where: Where) -> Password | None:
    """A function of one bool that returns the password, or None for a key without one."""
    if value is not None and not callable(value):
        kind = type(value).__name__
        raise refusal(
            where, f"must be None or a function that returns it, not the {kind} given here"
        )
    return cast("Password | None", value)


# Addresses ----------------------------------------------------------------------------------------


def ip(value: object, where: Where) -> IPAddress:
    """An IP address; a str that is one is converted. An IPv6 zone (fe80::1%eth0) is kept."""
    # Not their subclasses: an IPv4Interface is an address with a network.
    if type(value) is IPv4Address or type(value) is IPv6Address:
        return value
    if not isinstance(value, str):
        raise refusal(where, f"must be an IP address, not {_seen(value)}")
    found = _read_ip(value)
    if found is not None:
        return found
    if value.startswith("[") and _read_ip(value[1:-1]) is not None:
        hint = f"write {value[1:-1]!r}, without brackets"
    elif _module(where) == "server":
        hint = "a server listens on the address itself, not on a name"
    else:
        hint = f"for a name there is {_module(where)}.Host(name, port)"
    raise refusal(where, f"{_seen(value)} is not an IP address; {hint}")


def ip_or_none(value: object, where: Where) -> IPAddress | None:
    """An IP address, or None."""
    return None if value is None else ip(value, where)


def address(union: UnionType) -> Callable[[object, Where], Any]:
    """The kind of field that holds one of a union of addresses, or another package's address."""
    members: tuple[type, ...] = get_args(union)

    def kind(value: object, where: Where) -> object:
        ours = isinstance(value, Record) and "." in name_of(type(value))
        # A transport of another package brings a dataclass of its own, which no union here lists.
        if isinstance(value, members) or (not ours and is_dataclass(type(value))):
            return value
        seen = name_of(type(value)) if ours else _seen(value)
        raise refusal(where, f"must be an address of conduit.{_module(where)}, not {seen}")

    return kind


# What they share ----------------------------------------------------------------------------------


def _int(value: object, where: Where, highest: int | None = None) -> int:
    if type(value) is int and highest is not None and 0 <= value <= highest:
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise refusal(where, f"must be an int, not {_seen(value)}")
    if highest is not None and not 0 <= value <= highest:
        raise refusal(where, f"{_seen(value)} is outside 0..{highest}")
    if value < 0:
        raise refusal(where, f"{_seen(value)} is negative")
    return int(value)


def _fspath(value: object, where: Where) -> object:
    if not isinstance(value, (str, os.PathLike)):
        raise refusal(where, f"must be a str or a path, not {_seen(value)}")
    return os.fspath(cast("Path", value))  # bytes, if the path is one of bytes


@lru_cache(maxsize=1024)
def _read_ip(value: str) -> IPAddress | None:
    try:
        found = ip_address(value)
    except ValueError:
        return None
    # ipaddress takes any zone, but no interface is called so.
    zone = value.partition("%")[2]
    return None if any(char in "/[]" or _is_blank(char) for char in zone) else found


def _is_blank(char: str) -> bool:
    """Whether it is white space, a control, or half a surrogate pair (a byte that is no UTF-8)."""
    return char.isspace() or char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"


def _seen(value: object) -> str:
    """What an error shows of a value: plain ones in short, of others the type alone."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an int of {value.bit_length()} bits"  # Python refuses to print the longest
    if value is None or isinstance(value, (str, int, float)):
        shown = repr(value)
        return shown if len(shown) <= 80 else f"{shown[:60]}... ({len(shown)} characters)"
    return f"an object of type {type(value).__name__}"


def refusal(where: Where, why: str) -> AddressError:
    """The error for a field: "client.TCP: port 70000 is outside 0..65535"."""
    owner, part = where
    return AddressError(f"{name_of(owner)}: {part} {why}", part=part)


def _module(where: Where) -> str:
    """The module of the record: "client", "server"..."""
    return where[0].__module__.rpartition(".")[2]
