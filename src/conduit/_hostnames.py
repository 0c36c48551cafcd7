"""Names of hosts as DNS and certificates have them: small ASCII letters, by IDNA where needed."""

from __future__ import annotations

import re
from ipaddress import ip_address

from .errors import AddressError

_LONGEST = 253
"""How many characters a name may have in DNS, without the dot at its end (RFC 1035)."""

# Underscores are in no host name of RFC 1123, but in many that people use.
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_TOO_LONG = re.compile(r"[^.]{64}")

_SRV = re.compile(r"_[^.]+\._[^.]+\.([^.].*)", re.DOTALL)

# What a resolver of the system reads as an IPv4 address: 127.1, 2130706433, 0x7f.1.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def ascii_host(name: str, *, keep_dot: bool = False) -> str:
    """The form of a host's name in which it is looked up and compared.

    name: a DNS name, also with letters beyond ASCII, or an IP address, which is given back as
    `ipaddress` writes it. keep_dot: leave a dot at the end, which tells a resolver that the name is
    complete; certificates have none (default: take it away).

    Capitals become small letters. Other letters are mapped as UTS #46 says and encoded as IDNA 2008
    does, by the package `idna`, which is imported only for them.

    Raises AddressError for what is no name of a host.
    """
    if is_ip(name):
        return str(ip_address(name))
    if len(name) > _LONGEST + 1:
        raise _refusal(name, f"it has {len(name)} characters, and may have {_LONGEST}")
    found = name.lower() if name.isascii() else _by_idna(name)
    dot = "." if found.endswith(".") else ""
    found = found.removesuffix(".")
    if not found:
        raise _refusal(name, "it is empty")
    if len(found) > _LONGEST:
        raise _refusal(name, f"it has {len(found)} characters in ASCII, and may have {_LONGEST}")
    if not _NAME.fullmatch(found):
        raise _refusal(name, _why_not(found))
    if _TOO_LONG.search(found):
        raise _refusal(name, "a part between two dots has more than 63 characters in ASCII")
    if _NUMBER.fullmatch(found):
        raise _refusal(name, "it ends in a number, so it could be taken for an IP address")
    return found + dot if keep_dot else found


def is_ip(name: str) -> bool:
    """Whether it is an IP address and no name."""
    if not (":" in name or name[:1].isdigit()):
        return False
    try:
        ip_address(name)
    except ValueError:
        return False
    # ipaddress takes any zone, but no interface is called so.
    zone = name.partition("%")[2]
    return zone.isprintable() and not any(char in " /[]%" for char in zone)


def srv_domain(name: str) -> str | None:
    """The domain in a name of DNS SRV (RFC 2782), as "example" in "_postgresql._tcp.example".

    name: of a host. None if it does not begin with a service and a protocol, or what Consul has in
    its place: two parts with an underscore each.
    """
    if not name.startswith("_"):
        return None
    found = _SRV.fullmatch(name)
    return None if found is None else found[1]


def certified_name(name: str) -> str:
    """Whom a certificate must be for, when this name was written: of SRV, the domain.

    That is what a user trusts (RFC 6125, section 6.2.1: the source domain), and what can be in a
    certificate and in SNI, which have no underscores.
    """
    return srv_domain(name) or name


def _by_idna(name: str) -> str:
    import idna

    try:
        # Without the rules of STD 3, which refuse an underscore: `ascii_host` looks at the result.
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        labels = (
            label if label.isascii() else idna.alabel(label).decode("ascii")
            for label in mapped.split(".")
        )
        return ".".join(labels)
    except UnicodeError as error:
        raise _refusal(name, str(error)) from None


def _why_not(name: str) -> str:
    if name.startswith(".") or ".." in name or name.endswith("."):
        return "a part between two dots is empty"
    wrong = next(char for char in name if not (char.isalnum() or char in "._-"))
    return f"it holds {wrong!r}"


def _refusal(name: str, why: str) -> AddressError:
    shown = repr(name) if len(name) <= 80 else f"{name[:60]!r}..."
    return AddressError(f"{shown} is no name of a host: {why}")
