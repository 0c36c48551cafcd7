"""What HTTP servers have in common over our flows: who the two ends are, and how to listen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias, TypedDict

from .. import endp, flow, server
from .._serve import listen
from .._server import Server
from ..channels import Input, Output
from ..context import Context
from ..tls.keys import OwnKey
from .protocols import FlowTransport

Mode: TypeAlias = server.Mode | endp.Endp | str
Handler: TypeAlias = Callable[[Any, Input, Output], Awaitable[object]]

# How long a stop waits, in seconds, when somebody else ends the connections.
ANY_TIME = 10.0 * 365 * 24 * 3600


class ListenOptions(TypedDict, total=False):
    """Arguments of `conduit.listen` that an HTTP server passes on."""

    ctx: Context | None
    backlog: int
    on_exn: Callable[[BaseException], object] | None
    handshake_timeout: float | None
    idle_timeout: float | None
    max_active: int | None
    client_auth: str
    unix_mode: int | None
    reuse_port: bool
    certificates: Iterable[OwnKey]
    reload_interval: float | None


def client_address(f: flow.Flow) -> tuple[str, int] | None:
    """The peer of a flow as HTTP servers write it: host and port; None for what has none."""
    match f:
        case flow.TCP(_, ip, port):
            return str(ip), port
        case flow.Vsock(cid, port):
            return str(cid), port
        case _:
            return None


def server_address(oc: Output) -> tuple[str, int | None] | None:
    """Where a client has come to: host and port, or a path and None."""
    match oc.get_extra_info("sockname"):
        case (host, int(port), *_):
            return str(host), port
        case str(path) if path:
            return path, None
        case bytes(name) if name:
            return f"@{name[1:].decode(errors='replace')}", None
        case _:
            return None


class HTTPTransport(FlowTransport):
    """The transport of a protocol that serves HTTP.

    f: the flow, by which its peer is called. ic, oc, protocol: as of `FlowTransport`.
    """

    def __init__(self, f: flow.Flow, ic: Input, oc: Output, protocol: asyncio.BaseProtocol) -> None:
        self._client = client_address(f)
        super().__init__(ic, oc, protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the flow, where servers look for it.

        name: "peername" and "sockname" have two parts, or are a path; "sslcontext" is something
        whenever there is TLS; "socket" is unknown, since its names are not always those of the two
        ends. default: for what is not known.
        """
        match name:
            case "peername":
                return self._client or default
            case "sockname":
                found = server_address(self._oc)
                return default if found is None else found[0] if found[1] is None else found
            case "socket":
                return default
            case "sslcontext":
                return self._oc.get_extra_info(name) or self._oc.get_extra_info("tls", default)
            case _:
                return super().get_extra_info(name, default)


async def begin(mode: Mode, handler: Handler, options: ListenOptions) -> Server:
    """A server that runs, whose connections and whose end are somebody else's business.

    A signal that `conduit.run` gets begins a stop (`wait_stopping`), and no more than that.
    """
    server = await listen(mode, handler, drain=ANY_TIME, **options).__aenter__()
    server.ends_by_itself = True
    return server


def serving(factory: Callable[[], asyncio.BaseProtocol]) -> Handler:
    """A handler that gives each client to a protocol. factory: makes that of one client."""

    async def handler(f: flow.Flow, ic: Input, oc: Output) -> None:
        await HTTPTransport(f, ic, oc, factory()).wait_closing()

    return handler
