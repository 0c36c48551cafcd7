"""Hypercorn on any address: an ASGI or WSGI application, by HTTP/1.1, HTTP/2 and WebSockets.

    await serve(app, hypercorn.Config(), "tls+unix:/run/app.sock?crt=…&key=…")

Needs Hypercorn: `pip install "conduit-net[hypercorn]"`, of a version that is known to this one,
since this stands on what is not documented.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from random import randint
from typing import Any, Unpack, cast

from .. import flow
from .._serve import listen
from .._server import Server
from .._tailored import tailored
from ..channels import Input, Output
from ..context import default_ctx
from ._http_server import ListenOptions, Mode, client_address, server_address
from ._needed import needs
from ._ssl_object import ssl_object

with needs("hypercorn"):
    from hypercorn import Config
    from hypercorn.asyncio.lifespan import Lifespan
    from hypercorn.asyncio.tcp_server import TCPServer
    from hypercorn.asyncio.worker_context import WorkerContext
    from hypercorn.typing import LifespanState
    from hypercorn.utils import (
        LifespanFailureError,
        LifespanTimeoutError,
        wrap_app,  # pyright: ignore[reportUnknownVariableType]
    )


async def serve(
    app: Callable[..., Any],
    config: Config,
    mode: Mode,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
    started: Callable[[Server], object] | None = None,
    **options: Unpack[ListenOptions],
) -> None:
    """Serve an application where an address of ours says: `hypercorn.asyncio.serve`.

    app: an ASGI or WSGI application. config: the `hypercorn.Config`; where to listen and all of TLS
    is not taken from it, but the limits and times are, `backlog` and `alpn_protocols` (unless the
    context or the text has `alpn`). mode: a value of `conduit.server`, an endpoint, or the text of
    one. shutdown_trigger: ends it when what it returns is done (default: it runs until it is
    cancelled; `conduit.run` ends it by a signal). started: called once with the `conduit.Server`
    when it listens, whose `endps` have the real port. options: `ctx`, `on_exn`,
    `handshake_timeout`, `idle_timeout`, `max_active`, `client_auth`, `unix_mode`, `reuse_port`,
    `certificates`, `reload_interval` of `conduit.listen`.

    The scope has "https" for TLS of ours; "client" is the address of the peer, of vsock its number,
    and None for a Unix socket. At the end, clients who are in the queue already are still served,
    and requests have `graceful_timeout` seconds to be completed.

    Raises ValueError for a config that has TLS of its own, what `conduit.listen` raises, and what
    Hypercorn raises for an application that does not start.
    """
    if config.ssl_enabled:
        raise ValueError(
            "the hypercorn.Config has TLS of its own: say it by the address instead, as in "
            "'tls://*:443?crt=…&key=…'"
        )
    loop = asyncio.get_running_loop()
    wrapped = wrap_app(app, config.wsgi_max_body_size, None)
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, loop, state)
    life = loop.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if life.done():
            # It raises why the application did not start.
            life.result()
        most = config.max_requests
        context = WorkerContext(
            None if most is None else most + randint(0, config.max_requests_jitter)
        )

        async def handler(f: flow.Flow, ic: Input, oc: Output) -> None:
            reader = cast("asyncio.StreamReader", ic)
            writer = cast("asyncio.StreamWriter", _Writer(f, oc))
            await TCPServer(wrapped, loop, config, context, state, reader, writer)

        async with listen(
            mode, handler, drain=config.graceful_timeout, **_completed(options, config)
        ) as server:
            if started is not None:
                started(server)
            try:
                await _first_of(shutdown_trigger, context.terminate.wait, server.wait_stopping)
            finally:
                # Idle connections end by themselves when they hear of this.
                await context.terminated.set()
    finally:
        if not life.done():
            await lifespan.wait_for_shutdown()
            life.cancel()
        await asyncio.wait([life])


async def run(
    app: Callable[..., Any],
    mode: Mode,
    stop: Callable[[], Awaitable[object]] | None,
    drain: float,
    started: Callable[[Server], object] | None,
    options: ListenOptions,
) -> None:
    """What `conduit.ext.asgi.serve_asgi` does by Hypercorn."""
    config = Config()
    config.graceful_timeout = drain
    config.errorlog = logging.getLogger("hypercorn.error")
    try:
        await serve(app, config, mode, shutdown_trigger=stop, started=started, **options)
    except (LifespanFailureError, LifespanTimeoutError) as error:
        raise RuntimeError(f"the application did not start: {error}") from error


def _completed(options: ListenOptions, config: Config) -> ListenOptions:
    """The options, with what the config says where they say nothing."""
    completed = options.copy()
    completed.setdefault("backlog", config.backlog)
    ctx = completed.get("ctx") or default_ctx()
    if not ctx.alpn:
        ctx = tailored(ctx, alpn=tuple(config.alpn_protocols))
    completed["ctx"] = ctx
    return completed


async def _first_of(*waits: Callable[[], Awaitable[object]] | None) -> None:
    """Return when the first of them does. Raises what it raises."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits if wait is not None]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class _Writer:
    """The output of a flow, as Hypercorn wants its StreamWriter."""

    def __init__(self, f: flow.Flow, oc: Output) -> None:
        self._flow = f
        self._oc = oc
        self.write = oc.write
        self.drain = oc.drain
        self.write_eof = oc.write_eof
        self.close = oc.close

    async def wait_closed(self) -> None:
        """Nothing: the server of ours sees the end, and hurries it when it stops."""

    def get_extra_info(self, name: str) -> Any:
        """A fact about the flow: its "socket", as far as it has names, and its "ssl_object"."""
        match name:
            case "socket":
                return _Ends(client_address(self._flow), server_address(self._oc))
            case "ssl_object":
                return ssl_object(self._oc)
            case _:
                return self._oc.get_extra_info(name)


class _Ends:
    """What Hypercorn asks a socket: who its two ends are."""

    def __init__(
        self, client: tuple[str, int] | None, server: tuple[str, int | None] | None
    ) -> None:
        # Of other families it takes no names.
        named = client is not None and server is not None
        self.family = socket.AF_INET if named else socket.AF_UNSPEC
        self._client = client
        self._server = server

    def getpeername(self) -> object:
        return self._client

    def getsockname(self) -> object:
        return self._server
