"""Hosts that are given, and not looked up anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias, cast, get_args

from .. import endp
from .._fields import IPAddress
from .._hostnames import ascii_host, is_ip
from ..errors import ResolutionError
from ..text import parse_endp
from .service import Service
from .uri import URI

Known: TypeAlias = endp.Endp | IPAddress | str
"""Where a host is: an endpoint, the text of one, or an IP address, which has the port asked for."""

Place: TypeAlias = "Known | Sequence[Known] | Callable[[int], Known | Sequence[Known]]"
"""... or several of them, the preferred one first, or a function of the port that gives either."""


_ENDPS: tuple[type, ...] = get_args(endp.Endp)


class StaticHosts:
    """The rewrite function of `static`."""

    __slots__ = ("_hosts",)

    def __init__(self, hosts: Mapping[str, Place]) -> None:
        self._hosts = {ascii_host(host): _checked(place) for host, place in hosts.items()}

    def __call__(self, service: Service, uri: URI) -> list[endp.Endp]:
        """Where the host is. Raises ResolutionError for one that is not listed."""
        place = self._hosts.get(uri.host)
        if place is None:
            if uri.ip is not None:
                return [endp.TCP(uri.ip, service.port)]
            raise ResolutionError(f"the host {uri.host!r} is not among those that are given")
        if callable(place):
            place = _checked(place(service.port))
        return [
            endp.TCP(one, service.port) if isinstance(one, IPv4Address | IPv6Address) else one
            for one in cast("list[endp.Endp | IPAddress]", place)
        ]


def _checked(place: Place) -> list[endp.Endp | IPAddress] | Callable[[int], Place]:
    """A list of endpoints and of addresses that lack a port, or the function."""
    if callable(place):
        return cast("Callable[[int], Place]", place)
    if isinstance(place, list | tuple):
        return [_one(one) for one in cast("list[Known]", place)]
    return [_one(cast("Known", place))]


def _one(given: Known) -> endp.Endp | IPAddress:
    if isinstance(given, str):
        return ip_address(given) if is_ip(given) else parse_endp(given)
    if not isinstance(given, (IPv4Address, IPv6Address, *_ENDPS)):
        raise TypeError(f"where a host is must be an endpoint, its text or an IP, not {given!r}")
    return given
