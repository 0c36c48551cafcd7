"""websockets over any flow: its client and its server, by addresses of ours.

    async with connect("ws://app/", "unix:/run/app.sock") as websocket: ...
    async with serve(handler, "tls+unix:/run/app.sock?crt=…&key=…") as server: ...

Needs websockets: `pip install "conduit-net[websockets]"`, of a version that is known to this one,
since the server stands on what is not documented.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from .. import endp
from .._connect import connect as connect_flow
from .._server import Server
from .._start_tls import start_tls
from ..channels import wire_of
from ..context import Context, default_ctx
from ._http_server import ListenOptions, Mode, begin, serving
from ._needed import needs
from ._routes import Routes, Target
from ._their_tls import TheirTLS
from .protocols import FlowTransport

with needs("websockets"):
    from websockets.asyncio import client as theirs
    from websockets.asyncio import server as their_servers


class connect(theirs.connect):
    """`websockets.connect`, which goes by an address of ours.

    uri: as ever; what of it says where to connect counts if `target` says nothing. target: where to
    connect: an address of `conduit.client`, an endpoint, or the text of one (default: to the host
    and port of the URI, by the resolver of the context). ctx: settings of the connection (default:
    `default_ctx()`); its trust counts for "wss", unless there is an `ssl=`. options: those of
    `websockets.connect` but `sock`, `unix` and `proxy`, and those of a loop's `create_connection`:
    where to connect is said by the target, also through a proxy.

    It is awaited, or the head of an `async with` or an `async for`, as ever. Raises AddressError
    for a target that cannot be, OSError for a connection that fails, and what websockets raises.
    """

    def __init__(
        self,
        uri: str,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        **options: Any,
    ) -> None:
        # One that the environment names is not asked for here, and so not to be a surprise.
        if options.setdefault("proxy", None) not in (None, True):
            raise ValueError(
                "the target says how to connect: give no proxy=, but client.HTTPConnect or "
                "client.SOCKS5"
            )
        super().__init__(uri, **options)
        unknown = self.create_connection_kwargs.keys() - {"ssl", "server_hostname"}
        if unknown:
            raise ValueError(
                f"the target says how to connect: give no {', '.join(sorted(unknown))}"
            )
        if target is not None:
            # A redirection to another host would lead to the same target: websockets refuses those
            # of Unix sockets by this, and nothing else is asked of it here.
            self.create_connection_kwargs["unix"] = True
        self._routes = Routes(target, None, ctx)
        self._ctx = ctx
        self._their_tls = TheirTLS()

    async def open_tcp_connection(self) -> theirs.ClientConnection:
        """Connect, with TLS if the URI says so."""
        uri = self.ws_uri
        ctx = default_ctx() if self._ctx is None else self._ctx
        triple = await connect_flow(self._routes.target(uri.host, uri.port), ctx=ctx, timeout=None)
        try:
            if uri.secure:
                ssl = self.create_connection_kwargs.get("ssl", True)
                triple = await start_tls(
                    *triple,
                    hostname=self.create_connection_kwargs.get("server_hostname", uri.host),
                    ctx=ctx if ssl is True else self._their_tls.context(ctx, ssl),
                    timeout=None,
                )
            connection = self.factory(uri)
            FlowTransport(triple.ic, triple.oc, connection)
        except BaseException:
            wire_of(triple.oc).abort()
            raise
        return connection


def serve(
    handler: Callable[[their_servers.ServerConnection], Awaitable[None]],
    mode: Mode,
    *,
    listening: ListenOptions | None = None,
    **options: Any,
) -> their_servers.Server:
    """`websockets.serve`, on an address of ours.

    handler: as ever. mode: a value of `conduit.server`, an endpoint, or the text of one; TLS is a
    part of it. listening: arguments of `conduit.listen`, such as `{"ctx": ctx, "max_active": 9}`.
    options: those of `websockets.serve`, but for those of a loop's `create_server`.

    Returns the `websockets.Server`, to be awaited, or the head of an `async with`, as ever; its
    `server` is a `Listening`, whose `endps` say how to reach it. `remote_address` of a connection
    is the peer's, and None for a Unix socket. Raises what `conduit.listen` raises.
    """
    theirs_only = options.keys() & {"host", "port", "sock", "ssl", "unix", "path"}
    if theirs_only:
        raise ValueError(f"the address says where to listen: give no {', '.join(theirs_only)}")
    server = their_servers.serve(handler, **options)
    # It is in there alone, and all the options of above are in it.
    factory = inspect.getclosurevars(server.create_server).nonlocals["protocol_factory"]

    async def create_server() -> asyncio.Server:
        running = await begin(mode, serving(factory), listening or {})
        return cast("asyncio.Server", Listening(running, server.close))

    server.create_server = create_server
    return server


class Listening(asyncio.AbstractServer):
    """A server of ours as a `websockets.Server` wants it. Made by `serve`, not by hand."""

    def __init__(self, server: Server, close: Callable[[], object]) -> None:
        self._server = server
        self._stopping: asyncio.Task[None] | None = None
        # When the program is told to stop, open connections are told so.
        self._watch = asyncio.ensure_future(server.wait_stopping())
        self._watch.add_done_callback(lambda _: close())

    @property
    def endps(self) -> tuple[endp.Endp, ...]:
        """How to reach it, with the real port."""
        return self._server.endps

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """None that anybody else could use."""
        return ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on."""
        return asyncio.get_running_loop()

    def is_serving(self) -> bool:
        """Whether clients are welcome."""
        return self._stopping is None

    async def start_serving(self) -> None:
        """Nothing: it serves since it was made."""

    async def serve_forever(self) -> None:
        """Wait until it is closed."""
        await self._server.wait_stopped()

    def close(self) -> None:
        """Listen no more. Those who are in the queue are told that they come too late."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._server.stop())

    async def wait_closed(self) -> None:
        """Wait until all connections are closed."""
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
