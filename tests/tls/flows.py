"""Flows of TLS over anything, both ends in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import conduit
from conduit import Context, Server, client, endp, server
from conduit.testing import Memory, memory_pair
from conduit.transports import Triple
from tests.tls.identities import Identities

NAME = "db.example"


class Ends(NamedTuple):
    """A flow seen from both ends."""

    client: Triple
    server: Triple


@asynccontextmanager
async def connected(
    mode: Any, target: Callable[[Any], Any], ctx: Context, **options: Any
) -> AsyncIterator[Ends]:
    """Connect to a server of `mode`; both flows are aborted in the end if they are still open.

    target: where to connect, made of the server's endpoint. options: of `conduit.listen`.
    """
    arrived: asyncio.Queue[Triple] = asyncio.Queue()

    async def handler(f, ic, oc):
        await arrived.put(Triple(f, ic, oc))
        await oc.wait_closed()

    async with conduit.listen(mode, handler, ctx=ctx, **options) as srv:
        near = Triple(*await conduit.connect(target(srv.endps[0]), ctx=ctx))
        try:
            far = await arrived.get()
            try:
                yield Ends(near, far)
            finally:
                await abort(far)
        finally:
            await abort(near)


def carrier(srv: Server) -> Any:
    """The address below that of a TLS server."""
    [found] = srv.endps
    assert isinstance(found, endp.TLS)
    return found.endp


def tls_to(srv: Server) -> client.TLS:
    """How to connect to a TLS server on a port of its own."""
    where = carrier(srv)
    return client.TLS(NAME, where.ip, where.port)


async def abort(triple: Triple) -> None:
    """Close a flow at once."""
    triple.oc.transport.abort()
    await triple.oc.wait_closed()


async def secured(below: Ends, identities: Identities, ctx: Context) -> Ends:
    """TLS from here on, by `start_tls`."""
    far, near = await asyncio.gather(
        conduit.start_tls(*below.server, server_side=True, own_key=identities.server(), ctx=ctx),
        conduit.start_tls(*below.client, hostname=NAME, ctx=ctx),
    )
    return Ends(near, far)


async def tunnelled(below: Ends, identities: Identities, ctx: Context) -> Ends:
    """TLS from here on, by `TLSTunnel` and, as a server, by `start_tls`."""
    far, near = await asyncio.gather(
        conduit.start_tls(*below.server, server_side=True, own_key=identities.server(), ctx=ctx),
        conduit.connect(client.TLSTunnel(NAME, below.client.ic, below.client.oc), ctx=ctx),
    )
    return Ends(Triple(*near), far)


class Kinds:
    """The ways in which TLS can stand over something; each an async context manager of `Ends`."""

    def __init__(self, identities: Identities, ctx: Context, socket_path: str) -> None:
        self._identities = identities
        self._ctx = ctx
        self._path = socket_path

    def by(self, name: str) -> Any:
        """One of `NAMES`."""
        return getattr(self, name)()

    def _over(self, mode: Any, target: Callable[[Any], Any], layers: int) -> Any:
        key = self._identities.server()
        for _ in range(layers):
            mode = server.TLSOver(mode, key.crt_file, key.key_file, key.password)

        def wrapped(found: Any) -> Any:
            for _ in range(layers):
                found = found.endp
            made = target(found)
            for _ in range(layers):
                made = client.TLSOver(NAME, made)
            return made

        return connected(mode, wrapped, self._ctx)

    def tcp(self) -> Any:
        """By the addresses for it."""
        key = self._identities.server()
        mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
        return connected(
            mode, lambda found: client.TLS(NAME, found.endp.ip, found.endp.port), self._ctx
        )

    def unix(self) -> Any:
        """Over a Unix socket."""
        return self._over(server.UnixDomainSocket(self._path), conduit.endp_to_client, 1)

    def memory(self) -> Any:
        """Without a socket."""
        return self._over(Memory("a name"), lambda found: found, 1)

    def tls_in_tls(self) -> Any:
        """Two layers."""
        return self._over(server.TCP(0, ip="127.0.0.1"), conduit.endp_to_client, 2)

    def tls_in_tls_in_tls(self) -> Any:
        """Three layers, over memory."""
        return self._over(Memory("a name"), lambda found: found, 3)

    @asynccontextmanager
    async def _upgraded(self, below: Any, *upgrades: Any) -> AsyncIterator[Ends]:
        async with AsyncExitStack() as stack:
            ends = await stack.enter_async_context(below)
            for upgrade in upgrades:
                ends = await upgrade(ends, self._identities, self._ctx)
            try:
                yield ends
            finally:
                for triple in ends:
                    await abort(triple)

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[Ends]:
        """Two flows in memory, in the clear."""
        ends = Ends(*memory_pair())
        try:
            yield ends
        finally:
            for triple in ends:
                await abort(triple)

    def start_tls(self) -> Any:
        """A plain flow is secured."""
        return self._upgraded(self.pair(), secured)

    def start_tls_twice(self) -> Any:
        """A secured flow is secured again."""
        return self._upgraded(self.tcp(), secured)

    def tunnel_over_tcp(self) -> Any:
        """A tunnel through a flow of TCP."""
        below = connected(server.TCP(0, ip="127.0.0.1"), conduit.endp_to_client, self._ctx)
        return self._upgraded(below, tunnelled)

    def tunnel_over_unix(self) -> Any:
        """A tunnel through a Unix socket."""
        below = connected(server.UnixDomainSocket(self._path), conduit.endp_to_client, self._ctx)
        return self._upgraded(below, tunnelled)

    def tunnel_over_tls(self) -> Any:
        """A tunnel through TLS."""
        return self._upgraded(self.tcp(), tunnelled)

    def tunnel_in_tunnel(self) -> Any:
        """A tunnel through a tunnel, through memory."""
        return self._upgraded(self.pair(), tunnelled, tunnelled)


NAMES = [
    name
    for name, made in vars(Kinds).items()
    if not name.startswith("_") and name not in ("by", "pair")
]
"""What `Kinds.by` takes."""
