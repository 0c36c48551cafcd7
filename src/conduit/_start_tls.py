"""`start_tls`: TLS from here on, over a flow that is open already."""

from __future__ import annotations

import asyncio
import ssl

from . import endp, flow
from .channels import Input, Output, Wire, wire_of
from .context import Context, default_ctx
from .errors import AddressError, TLSError
from .tls.engine import Engine
from .tls.keys import OwnKey
from .tls.layer import TLSTransport
from .tls.library import stack_of, tls_library
from .transports import Triple
from .transports.tls import (
    asked,
    check_unread,
    client_credentials,
    flow_over,
    secured,
    server_settings,
)


async def start_tls(
    f: flow.Flow,
    ic: Input,
    oc: Output,
    *,
    server_side: bool = False,
    hostname: str | None = None,
    own_key: OwnKey | None = None,
    ctx: Context | None = None,
    client_auth: str = "none",
    timeout: float | None = 30.0,
) -> Triple:
    """Begin TLS on an open flow, where both sides have agreed to (STARTTLS and the like).

        f, ic, oc = await conduit.start_tls(f, ic, oc, hostname="mail.example")

    f: the flow; ic: its input, and oc: its output: they belong to the result from now on, whose
    channels take the place of these. server_side: whether this side is the server of the handshake (default: no). hostname:
    of a client, the name that the peer's certificate must be for (default: the name that the flow
    was connected to). own_key: the certificate to show (default: the context's `tls_own_key`); a
    server needs one. ctx: settings (default: `default_ctx()`). client_auth: of a server, whether
    the client must show a certificate: "none" (default), "optional" or "required". timeout: seconds
    for the handshake (default 30), None for no limit.

    Returns the new flow and its channels, which the caller closes.

    Raises TLSError when input came that nobody has read: it was not protected, and may be injected;
    then the flow is left as it is. CertificateError, TLSError or TimeoutError when the handshake
    fails; then it is closed. AddressError without a hostname or a key.
    """
    ctx = ctx or default_ctx()
    ctx.check_process()
    _check_usable(ic, oc)
    library = tls_library()
    engine: Engine
    if server_side:
        key = own_key or ctx.tls_own_key
        if key is None:
            raise AddressError(
                "start_tls(server_side=True) needs a certificate: "
                "give own_key=OwnKey(crt_file, key_file)"
            )
        settings = server_settings(ctx, (key,), client_auth)
        loaded = await asyncio.to_thread(stack_of(library).load_server, settings)
        engine = loaded.engine()
        name = hostname or _name_of(f) or "localhost"
    else:
        name = hostname or _name_of(f) or ""
        if not name:
            raise AddressError(
                f"start_tls on {f!r}: say by hostname= whom the peer's certificate must be for"
            )
        credentials = await client_credentials(ctx, library, own_key)
        engine = credentials.engine(asked(name), (name, f.origin))
    _check_usable(ic, oc)
    async with asyncio.timeout(timeout):
        return await secured(
            Triple(f, ic, oc), engine, ctx, lambda _: flow_over(f, name), what=f"start_tls on {f!r}"
        )


def _check_usable(ic: Input, oc: Output) -> None:
    wire = wire_of(oc)
    if wire_of(ic) is not wire:
        raise ValueError("start_tls: ic and oc must be the two channels of one flow")
    if oc.is_closing() or wire.eof_sent:
        raise wire.gone() if wire.lost else TLSError("start_tls: the flow is closed already")
    if wire.reader is not None:
        raise RuntimeError("start_tls: another task is reading from this flow")
    check_unread(wire)


def _name_of(f: flow.Flow) -> str | None:
    """The name or the address that a flow was connected to."""
    match f.origin:
        case endp.TLS(host, _) | endp.TLSTunnel(host, _, _) | endp.Host(host, _):
            return host
        case endp.TCP(ip, _):
            return str(ip)
        case _:
            return None


async def upgrade(
    wire: Wire,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    hostname: str | None,
    handshake_timeout: float | None,
) -> None:
    """Begin TLS below a wire, whose channels stay: `Output.start_tls`.

    As for `start_tls` there is nothing that may be unread, and a handshake that fails closes all.
    """
    from .tls.openssl import engine_of_context

    check_unread(wire)
    if not server_side and hostname is None and wire.flow is not None:
        hostname = _name_of(wire.flow)
    engine = engine_of_context(context, server_side=server_side, hostname=hostname)
    below = Wire(wire.loop, wire.close_timeout)
    transport = wire.transport
    await wire.drain()
    transport.set_protocol(below)
    below.connection_made(transport)
    below.reading_paused = wire.reading_paused
    below.eof = wire.eof
    wire.reading_paused = False
    layer = TLSTransport(below, engine, wire)
    async with asyncio.timeout(handshake_timeout):
        await layer.handshake()
    if wire.flow is not None:
        wire.flow = flow_over(wire.flow, hostname or "localhost")
