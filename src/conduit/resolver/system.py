"""What the operating system knows: /etc/services and getaddrinfo, asked off the event loop."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from .. import _lookup, endp
from .._hostnames import srv_domain
from ..errors import ResolutionError
from .service import Service, Services
from .uri import URI
from .well_known import WELL_KNOWN

_DISCOVERY = "conduit.discovery"


async def _service_of_system(name: str) -> Service | None:
    port = await _port_of(name)
    if port is None:
        return None
    return Service(name, port, await _begins_with_tls(name))


async def _begins_with_tls(name: str) -> bool:
    """Whether TLS is to be expected, of which /etc/services says nothing.

    A service that is called as another, with "s" or "-tls" after it, is that one over TLS. Where
    this is wrong the handshake fails; the other mistake would send in the clear.
    """
    for ending in ("-tls", "-ssl", "+tls", "+ssl", "-s", "s"):
        if name.endswith(ending):
            plain = name.removesuffix(ending)
            if plain in WELL_KNOWN or (plain and await _port_of(plain) is not None):
                return True
    return False


async def _port_of(name: str) -> int | None:
    try:
        # Not by getservbyname, which several threads must not call at once.
        infos = await _lookup.getaddrinfo(None, name)
    except (OSError, UnicodeError):
        return None
    return int(infos[0][4][1])


system_service = Services(_service_of_system)
"""The service function of the operating system: /etc/services, or what stands for it."""


async def system_resolver(service: Service, uri: URI) -> list[endp.Endp]:
    """Look a host up by getaddrinfo: the rewrite function of `system`.

    A name of DNS SRV without a port, such as "_postgresql._tcp.example", is looked up as
    `conduit.discovery.SRV` does, by the name servers of the system.

    Returns all its addresses in the order that the system prefers, or RFC 2782 says. Raises
    ResolutionError with the reason of the system.
    """
    if uri.ip is not None:
        return [endp.TCP(uri.ip, service.port)]
    if uri.port is None and srv_domain(uri.host) is not None:
        return list(await _srv_rule()(service, uri))
    try:
        infos = await _lookup.getaddrinfo(uri.dns_name, service.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResolutionError(f"cannot resolve {uri.host!r}: {reason}") from error
    return [_endp_of(info[4]) for info in infos]


@lru_cache(maxsize=1)
def _srv_rule() -> Callable[[Service, URI], Awaitable[list[endp.TCP | endp.Host]]]:
    # By name, for what discovers services knows of resolvers.
    discovery: Any = import_module(_DISCOVERY)
    rule: Callable[..., Awaitable[list[endp.TCP | endp.Host]]] = discovery.Rule(discovery.SRV())
    return rule


def _endp_of(address: Any) -> endp.TCP:
    host, port, *rest = address
    # The scope of a link-local address, which getaddrinfo gives beside it or in it.
    if len(rest) == 2 and rest[1] and "%" not in host:
        host = f"{host}%{_interface(rest[1])}"
    return endp.TCP(ipaddress.ip_address(host), port)


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
