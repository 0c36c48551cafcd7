"""`forward`: a relay for clients that can be told a host and a port, or a path, and no more."""

from __future__ import annotations

from collections.abc import Iterable

from . import client, endp, server
from ._connect import connect
from ._handle import Handler, OnExn
from ._left_out import left_out
from ._relay import cut, relay
from ._serve import Listening, listen
from ._server import Stop
from ._target import to_client
from .channels import Input, Output, wire_of
from .context import Context, default_ctx
from .flow import Flow
from .tls.keys import OwnKey
from .transports import Triple

_TIMEOUT: float | None = left_out(30.0)
_BACKLOG = left_out(1024)
_CLIENT_AUTH = left_out("none")
_UNIX_MODE: int | None = left_out(None)
_REUSE_PORT = left_out(False)


def forward(
    mode: server.Mode | endp.Endp | str,
    target: client.Client | endp.Endp | str,
    *,
    ctx: Context | None = None,
    target_ctx: Context | None = None,
    timeout: float | None = _TIMEOUT,
    backlog: int = _BACKLOG,
    stop: Stop | None = None,
    on_exn: OnExn | None = None,
    handshake_timeout: float | None = 30.0,
    idle_timeout: float | None = None,
    drain: float = 10.0,
    max_active: int | None = None,
    client_auth: str = _CLIENT_AUTH,
    unix_mode: int | None = _UNIX_MODE,
    reuse_port: bool = _REUSE_PORT,
    certificates: Iterable[OwnKey] = (),
    reload_interval: float | None = None,
) -> Listening:
    """Pass each client on to another address, while an `async with` block runs.

        there = "tls://db.example:5432?ca=/etc/ours.pem"
        async with conduit.forward("unix:/run/me/.s.PGSQL.5432", there):
            db = await asyncpg.connect(host="/run/me")

    So a library without a plug point reaches whatever `connect` can, and a server whatever `listen`
    can. The end of what one peer says becomes the end of what the other gets.

    mode: how to be reached, as `listen` takes it; the block is entered with the `Server`, whose
    `endps` have the real port of a port 0. target: where each client is passed on to, as `connect`
    takes it; it is looked up and connected to anew for each. ctx: settings of the clients' side.
    target_ctx: settings of the target's side (default: `ctx`). timeout: seconds for connecting to
    the target (default: what its text says, else 30); None for no limit. The others are those of
    `serve`, whose own `timeout`, for the life of a connection, only the text of a mode can say.

    Whoever can reach `mode` speaks to the target with the certificates of `target_ctx`: listen on
    an address that only your own programs reach, such as a Unix socket with `unix_mode=0o600`.

    A client whose target cannot be reached is cut off, by TCP with a reset, and `on_exn` is told
    why (without it, the log); so is one whose connection breaks, and its target. None of it ends
    the server. Left normally, the block gives the connections `drain` seconds to end, as a stop
    does; then, or left by an exception, they are cut off at both ends.

    Raises AddressError for a target that cannot be, ResolutionError for an `endp.Unknown`, both at
    once; and what `listen` raises.
    """
    ctx = ctx or default_ctx()
    target_ctx = target_ctx or ctx
    to_client(target, target_ctx, timeout)  # the first client is not to find out that it cannot be
    return listen(
        mode,
        _passing_on(target, target_ctx, timeout),
        ctx=ctx,
        backlog=backlog,
        stop=stop,
        on_exn=on_exn,
        handshake_timeout=handshake_timeout,
        idle_timeout=idle_timeout,
        drain=drain,
        max_active=max_active,
        client_auth=client_auth,
        unix_mode=unix_mode,
        reuse_port=reuse_port,
        certificates=certificates,
        reload_interval=reload_interval,
    )


def _passing_on(
    target: client.Client | endp.Endp | str, ctx: Context, timeout: float | None
) -> Handler:
    async def handle(f: Flow, ic: Input, oc: Output) -> None:
        try:
            async with connect(target, ctx=ctx, timeout=timeout) as there:
                await relay(Triple(f, ic, oc), there)
        except BaseException:
            # Closed in order, it would look as if the target had answered with nothing.
            cut(wire_of(oc))
            raise

    return handle
