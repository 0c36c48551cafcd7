"""Clients passed on to another address, with or without the PROXY protocol."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Literal, TypeAlias, cast

import conduit
from conduit import client, endp, flow

from .._relay import cut
from .._resolve import resolved
from .._target import to_client
from ..channels import wire_of
from ..convert import endp_of_flow
from ..errors import AddressError
from ..proxy_protocol import Header, Peer
from ..transports import Triple
from ..transports.several import Several
from .headers import received
from .journal import Journal, Visit

Version: TypeAlias = Literal["v1", "v2"]

_SECONDS = 30.0

_STACKS: dict[type, conduit.TLSLibrary] = {
    client.OpenSSL: conduit.TLSLibrary.OPENSSL,
    client.TLSNative: conduit.TLSLibrary.NATIVE,
}


class Passing:
    """Passes clients on.

    target: where to, as text. journal: is told. ctx: for connecting. timeout: seconds for it; None
    for what the text says, or 30. announces: the version of the PROXY header that the target is
    sent, before all TLS; None for none.
    """

    def __init__(
        self,
        target: str,
        journal: Journal,
        *,
        ctx: conduit.Context | None = None,
        timeout: float | None = None,
        announces: Version | None = None,
    ) -> None:
        self._target = target
        self._journal = journal
        self._ctx = ctx or conduit.default_ctx()
        self._limits = {} if timeout is None else {"timeout": timeout}
        self._announces: Version | None = announces

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
        if self._announces is None:
            async with conduit.connect(self._target, ctx=self._ctx, **self._limits) as there:
                await self._join(visit, there)
            return
        header = _header_for(visit.triple, received.get(), self._announces)
        asked = to_client(self._target, self._ctx, self._limits.get("timeout"))
        seconds = _SECONDS if asked.timeout is None else asked.timeout
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                lower, layers = below_tls((await resolved(asked)).address)
                async with conduit.connect(lower, ctx=asked.ctx, timeout=None) as there:
                    await there.oc.write(header)
                    for name, library in layers:
                        there = await conduit.start_tls(
                            *there, hostname=name, ctx=asked.ctx, library=library, timeout=None
                        )
                    limit.reschedule(None)
                    await self._join(visit, there)
                    if layers:
                        there.oc.close()
                        await there.oc.wait_closed()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise conduit.ConnectTimeout(
                f"cannot connect to {asked}: not done in {seconds:g} s, the PROXY header and TLS "
                "included"
            ) from error

    async def _join(self, visit: Visit, there: Triple) -> None:
        self._journal.reached(visit, str(endp_of_flow(there.flow)))
        await conduit.relay(visit.triple, there)


def below_tls(
    where: client.Client | Several,
) -> tuple[client.Client, list[tuple[str, conduit.TLSLibrary | None]]]:
    """What carries all TLS of an address; and for each layer, the lowest first, the name and stack.

    Raises AddressError for endpoints of a service that have TLS for different names.
    """
    layers: list[tuple[str, conduit.TLSLibrary | None]] = []
    while True:
        if isinstance(where, client.TLSOver):
            layers.append((where.hostname, None))
            where = where.client
        elif isinstance(where, client.TLS | client.OpenSSL | client.TLSNative):
            layers.append((where.hostname, _STACKS.get(type(where))))
            where = client.TCP(where.ip, where.port)
        else:
            break
    if isinstance(where, Several) and any(isinstance(one, endp.TLS) for one in where.endps):
        raise AddressError(f"{where}: these have TLS for different names, below which no header is")
    # Several endpoints are an address of another module than `client`.
    return cast("client.Client", where), layers[::-1]


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
