"""The `HOST:PORT` of a text, read and written."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from .._fields import IPAddress
from .._hostnames import srv_domain
from .mistakes import part
from .parts import Parts
from .percent import HOST, ZONE, encode, in_code, small
from .query import Raw, coded

ANY = "*"
"""All addresses, for a server."""


def host_and_port(parts: Parts) -> tuple[str, IPAddress | None, int]:
    """Read them: the host as a certificate names it, its address if it is one, and the port.

    A host with a percent code in it is a name, whatever it says: that is how a name looks that
    could be taken for an address. A name of DNS SRV, which has the port, may stand without one; it
    is 0 then.
    """
    body = parts.body
    at = parts.at + 2
    slash = body.find("/", 2)
    if slash >= 0:
        why = f"no path comes after {parts.scheme}://HOST:PORT"
        raise parts.mistake(parts.at + slash, why, body[:slash])
    ip: IPAddress | None = None
    if body.startswith("[", 2):
        host, port = _after_bracket(parts)
        ip = _ipv6(parts, host)
        host = name_of_ip(ip)
    else:
        host, colon, port = body[2:].rpartition(":")
        if ":" in host:
            raise parts.mistake(at, *_unbracketed(host, port))
        if not colon:
            host, port = port, ""
        if host != ANY:
            host, ip = _name_or_ipv4(parts, host, at)
        elif parts.side != "server":
            why = "'*' stands for all addresses of a server; to connect, name one"
            raise parts.mistake(at, why, f"//localhost:{port}" if port else None)
    if not port:
        if parts.side != "server" and not body.endswith(":") and srv_domain(host) is not None:
            return host, ip, 0
        raise parts.mistake(parts.at + len(body), "the port is missing")
    at = parts.at + len(body) - len(port)
    return host, ip, parts.number("port", Raw(port, at), 0xFFFF)


def name_and_port_text(name: str, port: int) -> str:
    """Write a name and a port, which is left out where DNS SRV says it."""
    without = port == 0 and srv_domain(name) is not None
    return host_text(name) if without else f"{host_text(name)}:{port}"


def host_text(host: str | IPAddress | None) -> str:
    """Write a name, an address, or, for None, all addresses."""
    if host is None:
        return ANY
    if isinstance(host, IPv4Address):
        return str(host)
    if isinstance(host, IPv6Address):
        zone = host.scope_id
        return f"[{name_of_ip(host)}{'' if zone is None else f'%25{encode(zone, ZONE)}'}]"
    text = encode(host, HOST)
    if text is host and _is_numeric(host):
        # A name, though it looks like an address.
        before, dot, after = host.rpartition(".")
        text = f"{before}{in_code(dot)}{after}" if dot else in_code(host)
    return text


def name_of_ip(ip: IPAddress) -> str:
    """An address as a certificate may name it: without a zone, and the same on every Python."""
    if isinstance(ip, IPv6Address):
        mapped = ip.ipv4_mapped
        return str(ip).partition("%")[0] if mapped is None else f"::ffff:{mapped}"
    return str(ip)


def _name_or_ipv4(parts: Parts, host: str, at: int) -> tuple[str, IPAddress | None]:
    if not host:
        anywhere = ANY if parts.side == "server" else "localhost"
        port = parts.body[2:]
        raise parts.mistake(at, "the host is missing", f"//{anywhere}{port}" if port else None)
    if _is_numeric(host):
        ip = _ipv4(host) if len(host) <= 15 else None
        if ip is None:
            raise parts.mistake(at, f"{part(host)} is not an IPv4 address, nor a name")
        return host, ip
    return coded(parts.text, small(host), at), None


def _is_numeric(host: str) -> bool:
    """Whether it is made of digits and dots alone. No name is: systems read 127.1 as an address."""
    return host.isascii() and host.replace(".", "0").isdigit()


@lru_cache(maxsize=1024)
def _ipv4(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except ValueError:
        return None


def _after_bracket(parts: Parts) -> tuple[str, str]:
    """What is in the brackets, and the port after them."""
    inside, bracket, rest = parts.body[3:].partition("]")
    if not bracket:
        raise parts.mistake(parts.at + 2, "this '[' is never closed")
    if rest and not rest.startswith(":"):
        at = parts.at + len(parts.body) - len(rest)
        raise parts.mistake(at, f"after ']' comes ':' and the port, not {part(rest)}")
    return inside, rest[1:]


def _ipv6(parts: Parts, inside: str) -> IPv6Address:
    at = parts.at + 3
    if not inside:
        raise parts.mistake(at, "the host is missing")
    address, percent, zone = inside.partition("%")
    if percent:
        # RFC 6874 writes the percent sign in code; most people do not.
        start = at + len(address) + 1
        if zone.startswith("25"):
            zone, start = zone[2:], start + 2
        if not zone:
            why = "the zone is missing; zone 25 is written %2525"
            raise parts.mistake(start, why)
        zone = coded(parts.text, zone, start)
    try:
        return _read_ipv6(address, zone if percent else None)
    except ValueError:
        pass
    if _is_numeric(inside) or not (":" in inside or percent):
        rest = parts.body[3 + len(inside) + 1 :]
        why = f"brackets are for IPv6 addresses, and {part(inside)} is none"
        raise parts.mistake(at - 1, why, f"//{inside}{rest}")
    raise parts.mistake(at, f"{part(inside)} is not an IPv6 address")


def _read_ipv6(address: str, zone: str | None) -> IPv6Address:
    if len(address) > 45:
        raise ValueError
    return IPv6Address(address if zone is None else f"{address}%{zone}")


def _unbracketed(host: str, port: str) -> tuple[str, str | None]:
    """Why, and what was meant, for more than one colon in the host and the port."""
    for address, then in ((host, port), (f"{host}:{port}", "PORT")):
        try:
            _read_ipv6(address, None)
        except ValueError:
            continue
        return "an IPv6 address stands in brackets", f"//[{address}]:{then}"
    return f"{part(host)} is no host: it holds ':'", None
