"""`serve` and `listen`: run a handler for every client, and stop in an orderly way."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Iterable
from types import TracebackType
from typing import cast

from . import endp, server
from ._handle import Handler, Handling, OnExn
from ._left_out import decide, left_out
from ._server import Server, Stop
from ._target import to_server
from .context import Context, default_ctx
from .errors import AddressError
from .tls.keys import OwnKey
from .transports import ListenOptions

_AUTHENTICATIONS = ("none", "optional", "required")

# Where the caller leaves these out, the text of the mode may say them.
_BACKLOG = left_out(1024)
_TIMEOUT: float | None = left_out(None)
_CLIENT_AUTH = left_out("none")
_UNIX_MODE: int | None = left_out(None)
_REUSE_PORT = left_out(False)

_TLS_MODES = (server.TLS, server.OpenSSL, server.TLSNative, server.TLSOver)


class Listening:
    """What `listen` returns: an async context manager around a `Server`."""

    __slots__ = ("_server",)

    def __init__(self, running: Server) -> None:
        self._server = running

    async def __aenter__(self) -> Server:
        await self._server.start()
        return self._server

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        running = self._server
        # In a forked child the server is the parent's, and its listeners are not ours to close.
        running.check_process()
        if running.cut and not isinstance(error, asyncio.CancelledError):
            # The block was left by itself at the very moment; the cancellation is still to come.
            cancelled = await _absorb_cancellation()
            error = error or cancelled
        cut = running.leave_block()
        gently = error is None or running.only_cut()
        while True:
            try:
                await (running.stop() if gently else running.kill())
                break
            except asyncio.CancelledError as again:
                # Of an outer block that `conduit.run` ends as well, or of somebody in earnest?
                error = error or again
                if gently and not running.only_cut():
                    gently = False
                elif not gently:
                    raise
        if error is None:
            running.raise_failure()
            return False
        if isinstance(error, asyncio.CancelledError) and cut and not running.cancelled_by_others():
            running.raise_failure()
            return True
        if kind is None:
            raise error
        return False


async def _absorb_cancellation() -> asyncio.CancelledError | None:
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError as cancelled:
        return cancelled
    return None


def listen(
    mode: server.Mode | endp.Endp | str,
    handler: Handler,
    *,
    ctx: Context | None = None,
    backlog: int = _BACKLOG,
    timeout: float | None = _TIMEOUT,
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
    """Serve while an `async with` block runs.

        async with conduit.listen(conduit.server.TCP(0), handler) as srv:
            print(srv.endps)

    All arguments are those of `serve`, and so are the errors. Listening has begun when the block
    is entered with the `Server`. Left normally, the block waits for the handlers as a stop does;
    left by an exception, it cancels them.
    """
    ctx = ctx or default_ctx()
    ctx.check_process()
    told = to_server(mode, ctx)
    where, ctx = told.where, told.ctx
    backlog = decide(backlog, told.backlog)
    timeout = decide(timeout, told.timeout)
    unix_mode = decide(unix_mode, told.unix_mode)
    reuse_port = decide(reuse_port, told.reuse_port)
    # Whoever says whose certificates are trusted wants to see them.
    client_auth = decide(client_auth, "required" if told.trusts else None)
    if told.trusts and client_auth == "none":
        raise AddressError(
            f"{where} has ca= or fingerprint= in its text, and client_auth='none' would check "
            "nobody: leave out one of the two"
        )
    _check(where, handler, stop, on_exn, backlog, client_auth, drain)
    _check_seconds(timeout=timeout, handshake_timeout=handshake_timeout, idle_timeout=idle_timeout)
    _check_seconds(reload_interval=reload_interval)
    handling = Handling(
        handler=handler,
        on_exn=on_exn,
        timeout=timeout,
        idle_timeout=idle_timeout,
        handshake_timeout=handshake_timeout,
        variables=contextvars.copy_context(),
    )
    options = ListenOptions(
        backlog=backlog,
        reuse_port=reuse_port,
        unix_mode=unix_mode,
        client_auth=client_auth,
        certificates=_certificates(certificates),
    )
    return Listening(
        Server(where, handling, ctx, options, drain, max_active, stop, reload_interval)
    )


async def serve(
    mode: server.Mode | endp.Endp | str,
    handler: Handler,
    *,
    ctx: Context | None = None,
    backlog: int = _BACKLOG,
    timeout: float | None = _TIMEOUT,
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
) -> None:
    """Serve until `stop`, running `handler` for every client in a task of its own.

    mode: how to be reached: a value of `conduit.server`, or an endpoint, or the text of one, such
    as "unix:/run/app.sock?unix_mode=660" (see `conduit.text`). handler: an async function of
    `(flow, ic, oc)`; the flow is closed when it returns or raises, so it need not close it. It
    runs in a copy of the caller's context variables. ctx: settings of the connections (default:
    `default_ctx()`). backlog: how many clients may wait to be accepted (default 1024).
    timeout: seconds a handler may live in all; then it is cancelled (default: no limit).
    stop: a future, an `asyncio.Event` or any awaitable; the server stops when it is done or set. It
    is never cancelled from here; if it fails, its exception is raised when all is stopped.
    on_exn: a plain function that is told what a handler raised, and why a handshake failed, before
    the channels are closed; without it these are logged. handshake_timeout: seconds a client has
    for its handshake (default 30). idle_timeout: seconds in which at least one byte must move,
    either way, else the handler is cancelled and the flow aborted (default: no limit).
    drain: seconds that handlers have to end after a stop (default 10), before they are cancelled.
    max_active: how many connections this server has at once (default: no limit); more clients wait.
    client_auth: whether TLS clients must show a certificate: "none", "optional" or "required".
    unix_mode: permission bits of a Unix socket's file, for instance 0o660 (default: the umask's).
    reuse_port: let other processes listen on the same TCP port (SO_REUSEPORT; default no).
    certificates: more certificates for TLS than that of the mode; a client is shown the one that is
    for the name it asks for. reload_interval: seconds between looks at the files of the TLS server,
    which are read again when they have changed (default: only at `Server.reload`).

    Options that mean nothing to a transport (a `unix_mode` to TCP) are ignored, so that the address
    alone decides how a program is reached; `client_auth` is not, for it protects.

    What a text says of the call (`backlog=`, `timeout=`, `unix_mode=`, `reuse_port=`) counts where
    the call does not say it. What it says of settings (`alpn=`, `keepalive=`, `ca=`,
    `fingerprint=`) counts for this server in place of the context's; the last two ask clients for a
    certificate, so they make `client_auth` "required" by default, and refuse "none".

    Raises OSError when the address cannot be listened on (EADDRINUSE for a Unix path with a live
    server), AddressError for a mode that cannot be, ValueError for a limit that cannot be. An error
    of a handler never ends the server. Cancelling this cancels the handlers and waits for them.
    """
    listening = listen(
        mode,
        handler,
        ctx=ctx,
        backlog=backlog,
        timeout=timeout,
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
    async with listening as running:
        running.ends_by_itself = True
        await running.wait_stopped()


def _check(
    mode: server.Mode,
    handler: Handler,
    stop: Stop | None,
    on_exn: OnExn | None,
    backlog: int,
    client_auth: str,
    drain: float,
) -> None:
    if not callable(handler):
        raise TypeError(f"handler must be an async function of (flow, ic, oc), not {handler!r}")
    if not (stop is None or isinstance(stop, asyncio.Event) or inspect.isawaitable(stop)):
        raise TypeError(f"stop must be a future, an asyncio.Event or an awaitable, not {stop!r}")
    if inspect.iscoroutinefunction(on_exn):
        raise TypeError("on_exn must be a plain function: it is called, not awaited")
    if backlog < 1:
        raise ValueError(f"backlog is {backlog}: at least one client must be able to wait")
    if drain < 0:
        raise ValueError(f"drain is {drain}: it cannot be negative")
    if client_auth not in _AUTHENTICATIONS:
        known = ", ".join(_AUTHENTICATIONS)
        raise ValueError(f"client_auth is {client_auth!r}: it is one of {known}")
    if client_auth != "none" and not isinstance(mode, _TLS_MODES):
        raise AddressError(f"{mode} has no TLS: client_auth={client_auth!r} would check nobody")


def _certificates(given: Iterable[OwnKey]) -> tuple[OwnKey, ...]:
    keys: tuple[object, ...] = (given,) if isinstance(given, OwnKey | str) else tuple(given)
    if isinstance(given, OwnKey) or not all(isinstance(key, OwnKey) for key in keys):
        raise TypeError(f"certificates must be several OwnKey(crt_file, key_file), not {given!r}")
    return cast("tuple[OwnKey, ...]", keys)


def _check_seconds(**limits: float | None) -> None:
    for name, seconds in limits.items():
        if seconds is not None and not seconds > 0:  # so that a NaN is refused as well
            raise ValueError(f"{name} is {seconds}: it must be more than 0, or None for no limit")
