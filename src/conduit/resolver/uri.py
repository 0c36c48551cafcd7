"""The URI of a service, as far as it says where to connect (RFC 3986, section 3)."""

from __future__ import annotations

import re
from ipaddress import ip_address

from .._fields import IPAddress
from .._hostnames import ascii_host, is_ip, srv_domain
from ..endp import Host
from ..errors import AddressError
from ..text.grammar import LONGEST
from ..text.mistakes import is_scheme, mistake
from ..text.percent import decode, malformed

_END = re.compile(r"[/?#]")
_PORT = re.compile(r"0*([0-9]{1,5})")


class URI(str):
    """A URI, as a str, and its parts. Rewrite functions are given one.

    scheme: in small letters. host: the name in small letters of ASCII, without a dot at its end, or
    the IP address. port: the port that it names, or None. ip: the IP address, if the host is one.
    dns_name: the host as DNS is asked for it: with the dot at its end, if there was one.
    """

    __slots__ = ("dns_name", "host", "ip", "port", "scheme")

    scheme: str
    host: str
    port: int | None
    ip: IPAddress | None
    dns_name: str

    @property
    def shown(self) -> str:
        """What a log or an error shows of it: not the path and the query, which may be secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}"


def uri_of(text: str, scheme: str, name: str, port: int | None) -> URI:
    """Make a URI of its parts. Raises AddressError for a name that is none of a host."""
    uri = URI(text)
    uri.scheme = scheme
    uri.port = port
    uri.dns_name = ascii_host(name, keep_dot=True)
    uri.host = uri.dns_name.removesuffix(".")
    uri.ip = ip_address(name) if is_ip(name) else None
    if uri.ip is not None:
        uri.host = uri.dns_name = str(uri.ip)
    return uri


def uri_of_host(where: Host) -> URI:
    """The URI of TCP to a name."""
    # No port is 0 of a name that DNS SRV has one for.
    port = None if where.port == 0 and srv_domain(where.name) is not None else where.port
    return uri_of(str(where), "tcp", where.name, port)


def parse_uri(text: str) -> URI:
    """Read the URI of a service.

    text: such as "https://example.com:8443/path?query"; what follows host and port says nothing of
    where to connect, and is left alone.

    Raises AddressError for what is no such URI, and for one with a user or a password, which it
    does not show.
    """
    if len(text) > LONGEST:
        why = f"it has {len(text)} characters, and may have {LONGEST}"
        raise mistake(text[:1], LONGEST, why)
    scheme, slashes, rest = text.partition("://")
    if not slashes or not is_scheme(scheme):
        raise mistake(text, 0, "a service is written SCHEME://HOST")
    found = _END.search(rest)
    authority = rest[: found.start()] if found else rest
    start = len(scheme) + 3
    if "@" in authority:
        why = "the address of a service has no user and no password: say them to the peer"
        raise mistake(f"{scheme}://***@", start, why)
    # What comes later may be a secret; and if there is an "@" in it, even this may be one.
    visible = f"{scheme}://{'***' if '@' in rest else authority}"
    seen = _unseen(text)
    if seen is not None:
        raise mistake(visible, seen, "here is a blank, or a character that cannot be seen")
    host, port = _host_and_port(visible, authority, start)
    try:
        return uri_of(text, scheme.lower(), host, port)
    except AddressError as error:
        why = str(error)
    raise mistake(visible, start, "there is no such host" if "@" in rest else why)


def _unseen(text: str) -> int | None:
    if text.isprintable() and " " not in text:
        return None
    return next(at for at, char in enumerate(text) if char == " " or not char.isprintable())


def _host_and_port(visible: str, authority: str, start: int) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise mistake(visible, start, "this '[' is never closed")
        host = _ipv6(visible, host, start + 1)
        if rest and not rest.startswith(":"):
            raise mistake(visible, start + len(authority) - len(rest), "after ']' comes ':'")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
        wrong = malformed(host)
        if wrong is not None:
            raise mistake(visible, start + wrong, "after '%' come two hex digits")
        host = decode(host)
        if not host:
            raise mistake(visible, start, "the host is missing")
        if ":" in host:
            raise mistake(visible, start, "an IPv6 address stands in brackets")
    if not port:
        return host, None  # RFC 3986 lets the port be empty
    digits = _PORT.fullmatch(port)
    if digits is None or int(digits[1]) > 0xFFFF:
        at = start + len(authority) - len(port)
        raise mistake(visible, at, "the port is no number from 0 to 65535")
    return host, int(digits[1])


def _ipv6(visible: str, host: str, at: int) -> str:
    address, percent, zone = host.partition("%")
    zone = zone.removeprefix("25")  # RFC 6874 writes the percent sign in code
    if malformed(zone) is None:
        host = f"{address}{percent}{decode(zone)}"
        if ":" in address and len(host) < 100 and is_ip(host):
            return host
    raise mistake(visible, at, "what is in brackets is no IPv6 address")
