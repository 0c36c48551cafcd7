"""`start_tls`: TLS from here on, over a flow that is open already."""

from __future__ import annotations

import asyncio
import ssl
import time

from . import endp, events, flow
from ._hostnames import certified_name
from .channels import Input, Output, Wire, wire_of
from .context import Context, default_ctx
from .errors import AddressError, TLSError
from .tls.engine import Engine
from .tls.keys import OwnKey
from .tls.layer import TLSTransport
from .tls.library import TLSLibrary, stack_of, tls_library
from .transports import Triple
from .transports.tls import (
    asked,
    check_open,
    check_unread,
    check_usable,
    client_credentials,
    closed,
    flow_over,
    naming,
    secured,
    server_settings,
    session_key,
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
    library: TLSLibrary | None = None,
    timeout: float | None = 30.0,
) -> Triple:
    """Begin TLS on an open flow, where both sides have agreed to (STARTTLS and the like).

        f, ic, oc = await conduit.start_tls(f, ic, oc, hostname="mail.example")

    f: the flow. ic: its input. oc: its output; all three belong to the result from now on, and its
    channels take the place of these. server_side: whether this side is the server of the handshake
    (default: no). hostname: of a client, the name that the peer's certificate must be for (default:
    the name that the flow was connected to). own_key: the certificate to show (default: the
    context's `tls_own_key`); a server needs one. ctx: settings (default: `default_ctx()`).
    client_auth: of a server, whether the client must show a certificate: "none" (default),
    "optional" or "required". library: which stack does it (default: the one that `tls_library`
    names). timeout: seconds for the handshake (default 30), None for no limit.

    Returns the new flow and its channels, which the caller closes.

    Raises TLSError when input came that nobody has read: it was not protected, and may be injected
    (of a server only what is no hello of a client, since that may come as soon as both agree);
    AddressError without a hostname or a key; ValueError for channels that are not of `f`;
    RuntimeError while another task reads, and for channels that carry another flow already;
    ConnectionError for a flow that is closed; OSError or TLSError for a certificate that cannot be
    used. Then the flow is left as it is. CertificateError, TLSError or TimeoutError when the
    handshake fails; then it is closed.
    """
    ctx = ctx or default_ctx()
    ctx.check_process()
    what = f"start_tls on {f!r}"
    check_usable(ic, oc, what=what, server_side=server_side)
    if wire_of(oc).flow != f:
        raise ValueError(f"{what}: ic and oc are the channels of {wire_of(oc).flow!r}")
    name = hostname or _name_of(f) or ""
    library = library or tls_library()
    with naming(what):
        made = flow_over(f, name or "localhost")
        if server_side:
            engine = await _server_engine(own_key or ctx.tls_own_key, ctx, client_auth, library)
        elif name:
            credentials = await client_credentials(ctx, library, own_key)
            engine = credentials.engine(asked(name), session_key(name, f.origin))
        else:
            raise AddressError("say by hostname= whom the peer's certificate must be for")
    # Others had their turn meanwhile.
    check_usable(ic, oc, what=what, server_side=server_side)
    async with asyncio.timeout(timeout):
        return await secured(Triple(f, ic, oc), engine, ctx, lambda _: made, what=what)


async def _server_engine(
    key: OwnKey | None, ctx: Context, client_auth: str, library: TLSLibrary
) -> Engine:
    if key is None:
        raise AddressError("a server needs a certificate: give own_key=OwnKey(crt_file, key_file)")
    settings = server_settings(ctx, (key,), client_auth)
    loaded = await asyncio.to_thread(stack_of(library).load_server, settings)
    return loaded.engine()


def _name_of(f: flow.Flow) -> str | None:
    """The name or the address that a flow was connected to."""
    match f.origin:
        case endp.TLS(host, _) | endp.TLSTunnel(host, _, _) | endp.Host(host, _):
            return certified_name(host)
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

    As for `start_tls` nothing may be unread, and a handshake that fails closes all.
    """
    from .tls.openssl import engine_of_context

    if not server_side and hostname is None and wire.flow is not None:
        hostname = _name_of(wire.flow)
    if not server_side and hostname is not None:
        hostname = asked(hostname)
    engine = engine_of_context(context, server_side=server_side, hostname=hostname)
    await wire.drain()
    with naming("start_tls"):
        check_open(wire)
        # Only now: the peer may have spoken while that waited.
        check_unread(wire, server_side=server_side)
    below = Wire(wire.loop, wire.close_timeout)
    transport = wire.transport
    transport.set_protocol(below)
    below.connection_made(transport)
    below.fd = wire.fd
    # A hello that has come already.
    below.buffer, wire.buffer = wire.buffer, b""
    below.reading_paused = wire.reading_paused
    below.eof = wire.eof
    wire.reading_paused = False
    layer = TLSTransport(below, engine, wire)
    started = time.perf_counter()
    async with asyncio.timeout(handshake_timeout):
        try:
            await layer.handshake()
        except TLSError:
            await closed(below)
            raise
    if wire.flow is not None:
        wire.flow = flow_over(wire.flow, hostname or "localhost")
        if events.observers:
            events.emit(events.Handshake(wire.flow, time.perf_counter() - started))
