"""From what a person writes to where it is: `https://example.com`, `redis://cache`.

    r = conduit.resolver.system()
    r.add_rewrite("xen", lambda service, uri: endp.VchanDomainSocket(uri.host, service.name))
    await r.resolve_uri("http://db.xen")  # endp.VchanDomainSocket("db.xen", "http")

The scheme of a URI is a service, which has a port and perhaps TLS; its host is looked up by the
rule for the longest part of its name. `conduit.connect` does this with the resolver of its context
(`conduit.init(resolver=…)`), and with `system()` where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

from .chain import Chain
from .interface import Resolves
from .resolver import Resolver
from .rules import RewriteFn
from .service import Service, ServiceFn, Services
from .static import Place, StaticHosts
from .system import system_resolver, system_service
from .uri import URI
from .well_known import static_service

__all__ = [
    "URI",
    "Chain",
    "Place",
    "Resolver",
    "Resolves",
    "RewriteFn",
    "Service",
    "ServiceFn",
    "Services",
    "static",
    "static_service",
    "system",
    "system_resolver",
    "system_service",
]


def system() -> Resolver:
    """Make a resolver that asks the operating system for services and hosts.

    Services are those of the table of well-known ones, then of /etc/services; hosts are looked up
    by getaddrinfo. Rules that are added come before.
    """
    return Resolver(rewrites=[("", system_resolver)])


def static(hosts: Mapping[str, Place]) -> Resolver:
    """Make a resolver that knows the hosts given, and no others.

    hosts: by their whole names, where each is: an endpoint; its text ("unix:/run/db.sock"); an IP
    address, which has the port of the URI or of its service; a list of these, the preferred one
    first; or a function of the port that returns either. It is copied.

    An IP address in a URI is what it says. Raises AddressError for a name or a text that is none.
    """
    return Resolver(rewrites=[("", StaticHosts(hosts))])
