"""Names and services in what `connect` was given become addresses, by the context's resolver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from . import client, endp
from ._hostnames import srv_domain
from ._target import Target
from .context import Context
from .convert import endp_to_client
from .errors import ResolutionError
from .transports.several import Several

if TYPE_CHECKING:
    from .resolver import Resolver, Resolves


_Proxied: TypeAlias = client.SOCKS5 | client.HTTPConnect


class Place(NamedTuple):
    """Where to connect, when all has been looked up.

    name: what stands for it in an error, unless that can tell of its parts. origin: the endpoint
    that the flow will have come from, if it is not that of the address.
    """

    address: client.Client | Several
    name: object
    origin: endp.Endp | None = None


async def resolved(asked: Target) -> Place:
    """Look up what a resolver has to.

    asked: what `connect` was asked for. Names of hosts are left to TCP if the context has no
    resolver, since that asks the system as well; but not those of DNS SRV without a port.

    Raises ResolutionError with the reason when nothing was found, TypeError for a `ctx.resolver`
    that is none.
    """
    where, ctx, timeout = asked
    asks = ctx.resolver is not None or _asks_for_srv(where)
    if asks and isinstance(where, client.TLSOver | _Proxied):
        below = where.client if isinstance(where, client.TLSOver) else where.proxy
        if isinstance(where, _Proxied) or _has_proxy(below):
            # What a proxy is asked for is left to it; its own address is looked up.
            found_below = await resolved(Target(below, ctx, timeout))
            # Several endpoints are an address of another module than `client`.
            reached = cast("client.Client", found_below.address)
            address = (
                replace(where, client=reached)
                if isinstance(where, client.TLSOver)
                else replace(where, proxy=reached)
            )
            return Place(address, address)
    origin: endp.Endp | None = None
    if isinstance(where, str):
        uri: str = where
    elif not asks or (origin := _endp_with_name(where)) is None:
        return Place(where, where)
    else:
        uri = str(origin)
    found = await _resolver_of(ctx).resolve_all(uri)
    known = [one for one in found if not isinstance(one, endp.Unknown)]
    if not known:
        reasons = dict.fromkeys(one.reason for one in found if isinstance(one, endp.Unknown))
        why = "; ".join(reasons) or "the resolver found no endpoint"
        raise ResolutionError(f"cannot connect to {asked}: {why}")
    found_address = client_of(known, ctx)
    return Place(found_address, found_address if len(known) == 1 else str(asked), origin)


def client_of(endps: Sequence[endp.Endp], ctx: Context) -> client.Client | Several:
    """How to connect to one peer, which has one or more endpoints.

    TLS that all of them share is put over the whole, so that their addresses are raced below it.
    """
    if len(endps) == 1:
        return endp_to_client(endps[0], ctx=ctx)
    layers = [one for one in endps if isinstance(one, endp.TLS)]
    if len(layers) == len(endps) and len({one.host for one in layers}) == 1:
        below = client_of([one.endp for one in layers], ctx)
        # An address of another module than `client`, as a transport of another package has it.
        return client.TLSOver(layers[0].host, cast("client.Client", below))
    return Several(tuple(endps))


def _endp_with_name(where: client.Client) -> endp.Host | endp.TLS | None:
    """A name, with TLS over it or without, as the endpoint that a resolver is asked for."""
    if isinstance(where, client.Host):
        return endp.Host(where.name, where.port)
    if isinstance(where, client.TLSOver):
        below = _endp_with_name(where.client)
        return None if below is None else endp.TLS(where.hostname, below)
    return None


def _asks_for_srv(where: object) -> bool:
    """Whether it is at a name of DNS SRV in the end, and its port is to be found, too."""
    while not isinstance(where, client.Host):
        if isinstance(where, client.TLSOver):
            where = where.client
        elif isinstance(where, _Proxied):
            where = where.proxy
        else:
            return False
    return where.port == 0 and srv_domain(where.name) is not None


def _has_proxy(where: object) -> bool:
    while isinstance(where, client.TLSOver):
        where = where.client
    return isinstance(where, _Proxied)


def _resolver_of(ctx: Context) -> Resolves:
    from .resolver import Resolves

    resolver = cast("object", ctx.resolver)  # whatever an unchecked program gave
    if resolver is None:
        return _system()
    if not isinstance(resolver, Resolves):
        raise TypeError(
            f"ctx.resolver is {resolver!r}: a resolver has resolve_all(uri), as those of "
            "conduit.resolver have"
        )
    return resolver


@lru_cache(maxsize=1)
def _system() -> Resolver:
    from .resolver import system

    return system()
