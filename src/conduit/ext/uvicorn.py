"""uvicorn on any address: an ASGI application over everything that can be served.

    server = ConduitServer(uvicorn.Config(app), "tls+unix:/run/app.sock?crt=…&key=…")
    await server.serve()

Needs uvicorn: `pip install "conduit-net[uvicorn]"`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Unpack, cast

from .. import endp
from .._run import hears_signals
from .._server import Server
from ._http_server import ListenOptions, Mode, begin, serving
from ._needed import needs

with needs("uvicorn"):
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE

# Seconds that a client has to send its request who was let in when the server stopped already.
_LATE = 0.5


class ConduitServer(uvicorn.Server):
    """A `uvicorn.Server` that listens where an address of ours says.

    config: the `uvicorn.Config`; where to listen and all of TLS is not taken from it, but the
    application, the limits and `backlog` are. mode: a value of `conduit.server`, an endpoint, or
    the text of one. options: `ctx`, `on_exn`, `handshake_timeout`, `idle_timeout`, `max_active`,
    `client_auth`, `unix_mode`, `reuse_port`, `certificates`, `reload_interval` of `conduit.listen`.

    `serve()` runs it and `should_exit` ends it, as they do of every `uvicorn.Server`; so do its
    signals, or `conduit.run` by the same ones. The scope has "https" for TLS of ours; "client" is
    the address of the peer, of vsock its number, and None for a Unix socket; "server" is a path and
    None for that.

    When it ends, clients who are in the queue already are still served, requests are completed
    within `timeout_graceful_shutdown`, and what is left is cancelled.

    Raises ValueError for a config that has TLS of its own.
    """

    def __init__(
        self, config: uvicorn.Config, mode: Mode, **options: Unpack[ListenOptions]
    ) -> None:
        super().__init__(config)
        if config.is_ssl:
            raise ValueError(
                "the uvicorn.Config has TLS of its own: say it by the address instead, as in "
                "'tls://*:443?crt=…&key=…'"
            )
        self._mode = mode
        self._options = options
        self._listening: Server | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def listening(self) -> Server | None:
        """The server of ours below it; None before it has started."""
        return self._listening

    @property
    def endps(self) -> tuple[endp.Endp, ...]:
        """How to reach it, with the real port; nothing before it has started."""
        return () if self._listening is None else self._listening.endps

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Hear of signals, as uvicorn does; under `conduit.run` leave that to it."""
        if hears_signals():
            yield
        else:
            with super().capture_signals():
                yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen.

        sockets: none, since the address says where. Raises what `conduit.listen` raises.
        """
        if sockets:
            raise ValueError("the address says where to listen: give no sockets")
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        options = self._options.copy()
        options.setdefault("backlog", self.config.backlog)
        try:
            self._listening = await begin(self._mode, serving(self._protocol), options)
        except BaseException:
            await self.lifespan.shutdown()
            raise
        self._told = asyncio.ensure_future(self._exit_when_told(self._listening))
        self.servers = []
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, as the class tells."""
        listening = self._listening
        assert listening is not None, "it has started"
        self._stopping = asyncio.ensure_future(listening.stop())
        # What is below waits for it.
        listeners: list[Any] = [_Listener(self._stopping)]
        self.servers = listeners
        late = asyncio.ensure_future(self._end_the_late(set(self.server_state.connections)))
        try:
            # It tells those who are there now, before it waits for the first time.
            await super().shutdown()
        finally:
            late.cancel()
            self._told.cancel()
            await listening.stop(drain=0)
            await self._stopping

    async def _exit_when_told(self, listening: Server) -> None:
        """A signal that `conduit.run` gets is for uvicorn, too."""
        await listening.wait_stopping()
        self.should_exit = True

    async def _end_the_late(self, told: set[Any]) -> None:
        """Let those end as well who come out of the queue now, but not before they have asked.

        told: the connections that were told already.
        """
        while True:
            await asyncio.sleep(_LATE)
            for protocol in self.server_state.connections - told:
                told.add(protocol)
                protocol.shutdown()

    def _protocol(self) -> asyncio.BaseProtocol:
        # Any of uvicorn's own protocols, which are made alike.
        make = cast("Any", self.config.http_protocol_class)
        protocol: asyncio.BaseProtocol = make(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return protocol


async def run(
    app: Callable[..., Awaitable[Any]],
    mode: Mode,
    stop: Callable[[], Awaitable[object]] | None,
    drain: float,
    started: Callable[[Server], object] | None,
    options: ListenOptions,
) -> None:
    """What `conduit.ext.asgi.serve_asgi` does by uvicorn, whose signals are left alone."""
    # Its type says int, and it is given to asyncio as it is.
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=cast("int", drain))
    server = ConduitServer(config, mode, **options)
    config.load()
    server.lifespan = config.lifespan_class(config)
    try:
        await server.startup()
    except SystemExit as error:
        raise RuntimeError("the application did not start: uvicorn.error has logged why") from error
    waiting = None if stop is None else asyncio.ensure_future(stop())
    try:
        if started is not None and server.listening is not None:
            started(server.listening)
        if waiting is not None:
            waiting.add_done_callback(lambda _: setattr(server, "should_exit", True))
        await server.main_loop()
    except BaseException:
        config.timeout_graceful_shutdown = 0
        raise
    finally:
        await server.shutdown()
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait([waiting])


class _Listener:
    """What `uvicorn.Server.shutdown` closes and waits for; it is being closed already."""

    def __init__(self, stopping: asyncio.Task[None]) -> None:
        self._stopping = stopping

    def close(self) -> None:
        return

    async def wait_closed(self) -> None:
        await asyncio.shield(self._stopping)
