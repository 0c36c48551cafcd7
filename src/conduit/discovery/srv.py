"""DNS SRV (RFC 2782), by dnspython: Consul, Nomad and Kubernetes' headless services answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import nsmallest
from importlib import import_module
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from .. import endp
from .._fields import IPAddress
from ..errors import AddressError, ResolutionError, UnsupportedTransport
from .interface import Address, Found

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.message

_LONGEST_NEGATIVE = 60.0
_NEGATIVE = 5.0
"""Seconds for which it is good that there is none, where DNS does not say."""

_MOST_TARGETS = 64
_MOST_OF_ONE = 16
"""Addresses that are taken of one target."""


class SRV:
    """A source that asks DNS for SRV records, and for the addresses of their targets.

    servers: IP addresses of name servers (default: those of the system). port: theirs (default 53;
    Consul's is 8600). timeout: seconds for each question, all servers together (default 5).

    An answer is good for the shortest time that its records say; that there is none, for as long
    as the zone says, at most a minute. A target without address there is left to the system. It
    needs the package dnspython: `pip install 'conduit-net[dns]'`.

    Raises AddressError for a server that is no IP address.
    """

    def __init__(
        self, servers: Sequence[str | IPAddress] = (), *, port: int = 53, timeout: float = 5.0
    ) -> None:
        try:
            self._servers = [str(ip_address(str(server))) for server in servers]
        except ValueError as error:
            raise AddressError(f"SRV: a name server is given by its IP address: {error}") from None
        self._port = port
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def resolve(self, name: str, /) -> Found:
        """Find the targets of a name such as "_postgresql._tcp.db.example".

        Raises ResolutionError if DNS cannot be asked, UnsupportedTransport without dnspython.
        """
        answer, ttl = await self._ask(name, "SRV")
        if answer is None:
            return Found((), ttl, "DNS has no such SRV record")
        records = nsmallest(_MOST_TARGETS, answer, key=lambda one: one.priority)
        # A port of 0 is nowhere, as the root is.
        records = [one for one in records if str(one.target) != "." and one.port]
        if not records:
            return Found((), ttl, "DNS says that there is no such service")
        targets = list({str(one.target) for one in records})
        found = await asyncio.gather(*map(self._addresses, targets))
        places = dict(zip(targets, found, strict=True))
        addresses: list[Address] = []
        for record in records:
            ips, good_for = places[str(record.target)]
            ttl = min(ttl, good_for)
            where: list[endp.TCP | endp.Host] = [endp.TCP(ip, record.port) for ip in ips]
            if not where:
                try:
                    where = [endp.Host(str(record.target).removesuffix("."), record.port)]
                except AddressError:
                    continue  # no host is called so; the others may be well
            # Each of a target's addresses has a part of its weight.
            share = record.weight // len(where) if record.weight >= len(where) else record.weight
            addresses += [Address(one, record.priority, share) for one in where]
        return Found(tuple(addresses), ttl)

    async def _addresses(self, target: str) -> tuple[list[IPAddress], float]:
        """All that DNS has for a target; none if it cannot be asked for that."""
        found: list[IPAddress] = []
        shortest = float("inf")
        for answer in await asyncio.gather(
            self._ask(target, "AAAA"), self._ask(target, "A"), return_exceptions=True
        ):
            if isinstance(answer, tuple) and answer[0] is not None:
                found += [ip_address(one.address) for one in islice(answer[0], _MOST_OF_ONE)]
                shortest = min(shortest, answer[1])
        return found, shortest

    async def _ask(self, name: str, kind: str) -> tuple[Any, float]:
        """The records and for how long they are good; None for none."""
        resolver = self._resolver or await self._made()
        import dns.exception
        import dns.resolver

        # Whatever the search list of this host says, the name is a whole one.
        whole = name if name.endswith(".") else f"{name}."
        try:
            answer = await resolver.resolve(
                whole, kind, lifetime=self._timeout, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as error:
            kwargs = cast("dict[str, Any]", error.kwargs)  # pyright: ignore[reportUnknownMemberType]
            responses: dict[Any, Any] = kwargs.get("responses") or {}
            return None, min((_negative_ttl(one) for one in responses.values()), default=_NEGATIVE)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise ResolutionError(f"DNS cannot be asked for {kind} of {name!r}: {why}") from None
        if answer.rrset is None:
            return None, _negative_ttl(answer.response)
        return answer.rrset, float(answer.rrset.ttl)

    async def _made(self) -> dns.asyncresolver.Resolver:
        try:
            # In a thread: it reads files.
            self._resolver = await asyncio.to_thread(self._make)
        except ImportError:
            raise UnsupportedTransport(
                "SRV records need the package dnspython: pip install 'conduit-net[dns]'"
            ) from None
        except Exception as error:
            raise ResolutionError(f"DNS cannot be asked: {error}") from None
        return self._resolver

    def _make(self) -> dns.asyncresolver.Resolver:
        module: Any = import_module("dns.asyncresolver")
        for used in ("dns.asyncbackend", "dns._asyncio_backend", "dns.resolver"):
            import_module(used)
        for kind in ("SRV", "A", "AAAA", "SOA", "CNAME"):
            import_module(f"dns.rdtypes.{'IN' if kind in ('SRV', 'A', 'AAAA') else 'ANY'}.{kind}")
        resolver: dns.asyncresolver.Resolver = module.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = list(self._servers)
            resolver.port = self._port
        resolver.cache = None  # the rule has one
        return resolver

    def __repr__(self) -> str:
        return f"SRV({', '.join(self._servers)})"


def _negative_ttl(response: dns.message.Message) -> float:
    """RFC 2308: what the zone's SOA says, in the answer that there is none."""
    import dns.rdatatype

    for rrset in response.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            soa = cast("Any", rrset[0])  # pyright: ignore[reportUnknownArgumentType]
            return min(float(rrset.ttl), float(soa.minimum), _LONGEST_NEGATIVE)
    return _NEGATIVE
