"""Clients passed on to another address, with or without the PROXY protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal, TypeAlias

import conduit
from conduit import client, flow

from .._relay import cut
from .._target import to_client
from ..channels import wire_of
from ..convert import endp_of_flow
from ..errors import AddressError
from ..proxy_protocol import Header, Peer, ProxyProtocolError, parse, wanted
from ..transports import Triple
from .journal import Journal, Visit

Network: TypeAlias = IPv4Network | IPv6Network | Literal["unix"]

Version: TypeAlias = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxying:
    """How the PROXY protocol is spoken.

    trusted: the networks of peers whose header is read and believed, "unix" for all on Unix
    sockets. They must send one; all others are taken for who they are. header_timeout: seconds that
    they have for it. version: of the header that the target is sent, or None for none.
    """

    trusted: Sequence[Network] = ()
    header_timeout: float = 10.0
    version: Version | None = None

    def trusts(self, peer: flow.Flow) -> bool:
        """Whether the peer's header is believed."""
        if isinstance(peer, flow.TCP):
            return any(network != "unix" and peer.ip in network for network in self.trusted)
        return isinstance(peer, flow.DomainSocket) and "unix" in self.trusted


class Passing:
    """Passes clients on.

    target: where to, as text. journal: is told. ctx: for connecting. timeout: seconds for it; None
    for what the text says, or 30.

    Raises AddressError for a target to which the header cannot be sent.
    """

    def __init__(
        self,
        target: str,
        journal: Journal,
        *,
        ctx: conduit.Context | None = None,
        timeout: float | None = None,
        proxying: Proxying = Proxying(),
    ) -> None:
        self._target = target
        self._journal = journal
        self._ctx = ctx or conduit.default_ctx()
        self._limits = {} if timeout is None else {"timeout": timeout}
        self._proxying = proxying
        if proxying.version is not None:
            below_tls(target, self._ctx)

    async def handle(self, f: flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
        """Handle a client."""
        visit = self._journal.begin(Triple(f, ic, oc))
        try:
            await self._pass(visit)
        except (OSError, conduit.ConduitError) as error:
            self._journal.failed(error, visit)
            cut(wire_of(oc))  # so that the client does not take it for an ordinary end
        finally:
            self._journal.end(visit)

    async def _pass(self, visit: Visit) -> None:
        header: Header | None = None
        if self._proxying.trusts(visit.triple.flow):
            header = await _read_header(visit.triple.ic, self._proxying.header_timeout)
        if self._proxying.version is None:
            async with conduit.connect(self._target, ctx=self._ctx, **self._limits) as there:
                await self._join(visit, there)
            return
        written = _header_for(visit.triple, header, self._proxying.version)
        lower, name, ctx = below_tls(self._target, self._ctx)
        async with conduit.connect(lower, ctx=ctx, **self._limits) as there:
            await there.oc.write(written)
            if name is not None:
                there = await conduit.start_tls(*there, hostname=name, ctx=ctx)
            await self._join(visit, there)
            if name is not None:
                there.oc.close()
                await there.oc.wait_closed()

    async def _join(self, visit: Visit, there: Triple) -> None:
        self._journal.reached(visit, str(endp_of_flow(there.flow)))
        await conduit.relay(visit.triple, there)


def below_tls(
    target: str, ctx: conduit.Context
) -> tuple[client.Client, str | None, conduit.Context]:
    """What to connect to so that a header comes before TLS; the name for TLS; and the context.

    Raises AddressError for a service, or a TLS stack by name, where that cannot be.
    """
    where, ctx, _ = to_client(target, ctx, None)
    match where:
        case str():
            raise AddressError(
                f"{where.shown}: a PROXY header goes to an address, not to the URI of a service: "
                "say tcp://HOST:PORT or tls://HOST:PORT"
            )
        case client.TLS():
            config = where.config
            return client.TCP(config.ip, config.port), config.hostname, ctx
        case client.TLSOver(hostname, inner) if not isinstance(inner, client.TLSOver):
            return inner, hostname, ctx
        case client.TLSOver() | client.OpenSSL() | client.TLSNative():
            raise AddressError(f"{where}: a PROXY header can only precede plain tls://HOST:PORT")
        case _:
            return where, None, ctx


async def _read_header(ic: conduit.Input, seconds: float) -> Header:
    data = b""
    try:
        async with asyncio.timeout(seconds):
            while more := wanted(data):
                data += await ic.readexactly(more)
    except asyncio.IncompleteReadError:
        raise ProxyProtocolError("the peer ended before its PROXY header did") from None
    except TimeoutError:
        raise ProxyProtocolError(f"no PROXY header within {seconds:g} s") from None
    return parse(data)


def _header_for(triple: Triple, received: Header | None, version: Version) -> bytes:
    """What the target is told: what a trusted peer has told us, or else who the client is."""
    header = _own(triple) if received is None else received
    return header.v1() if version == "v1" else header.v2()


def _own(triple: Triple) -> Header:
    peer = triple.flow
    if not isinstance(peer, flow.TCP):
        return Header()
    name: tuple[object, ...] = triple.oc.get_extra_info("sockname")
    own = Peer(ip_address(str(name[0]).partition("%")[0]), int(str(name[1])))
    theirs = Peer(ip_address(str(peer.ip).partition("%")[0]), peer.port)
    return Header(theirs, own)
