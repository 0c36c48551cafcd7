"""An ASGI application on any address, by uvicorn or Hypercorn, in one call.

    await serve_asgi("tls+unix:/run/app.sock?crt=…&key=…", app)

Needs uvicorn (`pip install "conduit-net[asgi]"`), or Hypercorn (`"conduit-net[hypercorn]"`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Unpack

from .._server import Server, Stop
from ._http_server import ListenOptions, Mode


async def serve_asgi(
    mode: Mode,
    app: Callable[..., Awaitable[Any]],
    *,
    by: Literal["uvicorn", "hypercorn"] = "uvicorn",
    stop: Stop | None = None,
    drain: float = 10.0,
    started: Callable[[Server], object] | None = None,
    **options: Unpack[ListenOptions],
) -> None:
    """Serve an ASGI application until `stop`.

    mode: where to listen: a value of `conduit.server`, an endpoint, or the text of one; TLS is a
    part of it. app: the application, version 3. by: which library speaks HTTP: "uvicorn" (default:
    HTTP/1.1 and WebSockets), or "hypercorn" (HTTP/2, too). stop: a future, an `asyncio.Event` or
    any awaitable; the server stops when it is done or set (default: it runs until it is cancelled;
    `conduit.run` stops it by a signal). drain: seconds that requests get to be completed then.
    started: called once with the `conduit.Server` when it listens. options: `ctx`, `backlog`,
    `on_exn`, `handshake_timeout`, `idle_timeout`, `max_active`, `client_auth`, `unix_mode`,
    `reuse_port`, `certificates`, `reload_interval` of `conduit.listen`.

    For the settings of either library use `conduit.ext.uvicorn.ConduitServer` or
    `conduit.ext.hypercorn.serve`, which this calls with the usual ones, but without logs of their
    own making: those that the program has set up get what they log.

    Raises ImportError where the library is not installed, what `conduit.listen` raises, and
    RuntimeError for an application that does not start.
    """
    if by == "hypercorn":
        from .hypercorn import run
    else:
        from .uvicorn import run
    await run(app, mode, _waiting(stop), drain, started, options)


def _waiting(stop: Stop | None) -> Callable[[], Awaitable[object]] | None:
    if stop is None:
        return None
    if isinstance(stop, asyncio.Event):
        return stop.wait
    waited = asyncio.ensure_future(stop)
    # It is somebody else's: not cancelled from here.
    return lambda: asyncio.shield(waited)
