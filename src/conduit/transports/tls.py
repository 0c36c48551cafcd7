"""TLS over any other transport, by whichever stack the address asks for."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import os
import time
from collections.abc import Callable, Hashable, Iterable
from types import TracebackType
from typing import TypeAlias, cast, get_args

from .. import client, endp, events, flow, server
from .._fields import unchecked
from .._hostnames import ascii_host
from ..channels import Input, Output, Wire, pair, wire_of
from ..context import Context
from ..errors import ConduitError, TLSError
from ..tls.engine import (
    ClientAuth,
    ClientCredentials,
    ClientSettings,
    Engine,
    ServerCredentials,
    ServerSettings,
    Stack,
)
from ..tls.keys import OwnKey
from ..tls.layer import TLSTransport
from ..tls.library import TLSLibrary, stack_of, tls_library
from ..tls.trust import Trust
from . import connect as connect_below
from . import listen as listen_below
from .base import Arrival, Attempts, Listener, ListenOptions, Reloadable, Triple
from .over import ListenerOver

ClientTLS: TypeAlias = (
    client.TLS | client.TLSNative | client.OpenSSL | client.TLSOver | client.TLSTunnel
)
ServerTLS: TypeAlias = server.TLS | server.TLSNative | server.OpenSSL | server.TLSOver


# Connecting ---------------------------------------------------------------------------------------


async def connect(target: ClientTLS, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to what carries it, and do the handshake as a client."""
    hostname = target.hostname
    if isinstance(target, client.TLSTunnel):
        check_usable(target.ic, target.oc, what=str(target))
    with naming(target):
        name = asked(hostname)
        credentials = await client_credentials(ctx, _library_for(target))
    if isinstance(target, client.TLSTunnel):
        # Others had their turn meanwhile.
        check_usable(target.ic, target.oc, what=str(target))
        engine = credentials.engine(name, None)
        below = Triple(cast("flow.Flow", wire_of(target.oc).flow), target.ic, target.oc)
        made = flow.Tunnel(
            hostname, target.ic, target.oc, origin=endp.TLSTunnel(hostname, target.ic, target.oc)
        )
        return await secured(below, engine, ctx, lambda _: made, what=target)
    over = (
        target.client
        if isinstance(target, client.TLSOver)
        else unchecked(client.TCP, ip=target.ip, port=target.port)
    )
    engine = credentials.engine(name, session_key(hostname, over))
    below = await connect_below(over, ctx, attempts)
    secure = flow_over(below.flow, hostname)
    # Of several endpoints it may be over, the one that answered.
    what = secure.origin if isinstance(target, client.TLSOver) else target
    return await secured(below, engine, ctx, lambda _: secure, what=what)


def asked(hostname: str) -> str:
    """Whom the peer's certificate must be for, as certificates and SNI write it.

    Raises AddressError for what is no name of a host and no IP address.
    """
    # Not as the codec of Python and its ssl do, which is of the older IDNA and makes other names.
    # The zone of an IPv6 address says which interface leads there; no certificate is for one.
    return ascii_host(hostname).partition("%")[0]


def session_key(hostname: str, where: object) -> Hashable:
    """What a session of a peer is remembered by; None, for not at all, where there is no such."""
    try:
        # An address of another package need not be hashable.
        hash(where)
    except TypeError:
        return None
    return hostname, where


async def client_credentials(
    ctx: Context, library: TLSLibrary, own_key: OwnKey | None = None
) -> ClientCredentials:
    """What `ctx` says about connecting, loaded by a stack: once, off the loop.

    own_key: what to show instead of the context's.
    """
    if own_key is None and ctx.ssl_ctx is None:
        # An ssl_ctx has had it since `init`.
        own_key = ctx.tls_own_key
    key = (library, own_key)
    known = ctx.tls_loaded.get(key)
    if known is not None:
        return cast("ClientCredentials", known)
    settings = ClientSettings(
        trust=_trust_of(ctx),
        own_key=own_key,
        alpn=ctx.alpn,
        check_hostname=ctx.ssl_client_verify.hostname,
        check_ip=ctx.ssl_client_verify.ip,
        ssl_ctx=ctx.ssl_ctx,
        key_log=_key_log(ctx),
    )
    if settings.ssl_ctx is not None and library is not TLSLibrary.OPENSSL:
        raise TLSError(
            "the context has an ssl_ctx, which only OpenSSL can use; for the native stack give a "
            "tls_authenticator instead"
        )
    if settings.ssl_ctx is not None and settings.alpn:
        # They could be set there, but others may use it as it is.
        raise TLSError(
            "the context has an ssl_ctx, which has its own protocols: give them to its "
            "set_alpn_protocols instead of alpn="
        )
    # Those who need it at the same time wait for the same thread; none of them can cancel it.
    pending = (key, asyncio.get_running_loop())
    loading = ctx.tls_loaded.get(pending)
    if loading is None:
        stack = stack_of(library)
        loading = asyncio.ensure_future(asyncio.to_thread(stack.load_client, settings))
        ctx.tls_loaded[pending] = loading

        def loaded(task: asyncio.Future[ClientCredentials]) -> None:
            del ctx.tls_loaded[pending]
            # An exception is heard by whoever waits, if they still do.
            if not task.cancelled() and task.exception() is None:
                ctx.tls_loaded.setdefault(key, task.result())

        loading.add_done_callback(loaded)
    credentials = await asyncio.shield(cast("asyncio.Future[ClientCredentials]", loading))
    return cast("ClientCredentials", ctx.tls_loaded.get(key, credentials))


def _library_for(address: ClientTLS | ServerTLS) -> TLSLibrary:
    if isinstance(address, client.OpenSSL | server.OpenSSL):
        return TLSLibrary.OPENSSL
    if isinstance(address, client.TLSNative | server.TLSNative):
        return TLSLibrary.NATIVE
    return tls_library()


def _trust_of(ctx: Context) -> Trust | None:
    trust = ctx.tls_authenticator
    if trust is not None and not isinstance(trust, Trust):
        raise TLSError(
            f"tls_authenticator must be made by conduit.trust (os, ca, fingerprint), not {trust!r}"
        )
    return trust


def _key_log(ctx: Context) -> str | None:
    return ctx.key_log or os.environ.get("SSLKEYLOGFILE") or None


# What both sides share ----------------------------------------------------------------------------


async def secured(
    below: Triple,
    engine: Engine,
    ctx: Context,
    flow_of: Callable[[Engine], flow.Flow],
    *,
    what: object,
    see_the_end: bool = True,
) -> Triple:
    """Do a handshake over a flow, and make the flow that stands over it.

    below: belongs to the result from now on, and is closed if this fails. flow_of: called with the
    engine when the handshake is done. what: the address, or what `str` makes a text of, for
    errors. see_the_end: whether to wait, if this fails, until the flow below is closed.
    """
    wire_below = wire_of(below.oc)
    started = time.perf_counter()
    wire = Wire(wire_below.loop, ctx.close_timeout)
    layer = TLSTransport(wire_below, engine, wire, allow_truncation=ctx.allow_truncation)
    try:
        await layer.handshake()
    except TLSError as error:
        error.args = (f"{what}: {error}", *error.args[1:])
        if see_the_end:
            await closed(wire_below)
        raise
    wire.flow = flow_of(engine)
    if not isinstance(wire.flow, flow.Tunnel):
        # The flow below is a part of this one, and nobody else's to be told of.
        wire_below.flow = None
    if events.observers:
        events.emit(events.Handshake(wire.flow, time.perf_counter() - started))
    return Triple(wire.flow, *pair(wire))


async def closed(wire: Wire) -> None:
    """Wait until a flow that is being closed is gone; cancelled, drop what is left."""
    try:
        await wire.wait_closed()
    except BaseException:
        wire.abort()
        raise


def flow_over(lower: flow.Flow, host: str) -> flow.Flow:
    """The flow of TLS over another: the same, but for where it comes from."""
    origin = endp.TLS(host, lower.origin or endp.Unknown("a flow without an address"))
    if type(lower) is flow.TCP:
        return flow.TCP(lower.fd, lower.ip, lower.port, origin=origin)
    return dataclasses.replace(lower, origin=origin)


class naming:
    """Let our errors begin with the address that they are about.

    what: the address, or what `str` makes a text of; only when there is an error.
    """

    __slots__ = ("_what",)

    def __init__(self, what: object) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ConduitError):
            # A copy: others may wait for the same certificates, at other addresses.
            fresh = copy.copy(error)
            fresh.args = (f"{self._what}: {error}", *error.args[1:])
            raise fresh from error


def check_usable(ic: Input, oc: Output, *, what: str, server_side: bool = False) -> None:
    """Raise an error unless TLS can begin on a flow now.

    ic, oc: its channels. what: who wants to, for errors. server_side: by which role.

    ValueError for channels of two flows, TypeError for what is no channel, RuntimeError for a flow
    that somebody else uses, ConnectionError for one that has ended, TLSError for input that nobody
    has read.
    """
    if not (isinstance(cast("object", ic), Input) and isinstance(cast("object", oc), Output)):
        raise TypeError(f"{what}: ic and oc must be the channels of a flow")
    wire = wire_of(oc)
    if wire_of(ic) is not wire:
        raise ValueError(f"{what}: ic and oc must be the two channels of one flow")
    with naming(what):
        check_open(wire)
        check_unread(wire, server_side=server_side)
    if wire.reader is not None:
        raise RuntimeError(f"{what}: another task is reading from this flow")


def check_open(wire: Wire) -> None:
    """Raise an error for a flow that can carry nothing any more.

    RuntimeError for one that carries another already, ConnectionError for one that has ended.
    """
    if wire.lost:
        raise wire.gone()
    if wire.above is not None:
        raise RuntimeError("this flow carries another now: use the channels of that one")
    if wire.closing or wire.transport.is_closing():
        raise TLSError("the flow is closed already")
    if wire.eof_sent:
        raise TLSError("the output was ended already, by write_eof()")


def check_unread(wire: Wire, *, server_side: bool = False) -> None:
    """Raise TLSError if the peer has said something in the clear that nobody has read.

    Whoever is on the way may have put it there, to be taken for a part of what is secured. Only a
    server may have something: the hello of a client that was quick, which goes to the handshake and
    so is protected by it.
    """
    unread = len(wire.buffer)
    if unread and not (server_side and wire.buffer[0] == _HANDSHAKE_RECORD):
        raise TLSError(
            f"{unread} bytes came in before TLS began and were not read: they may be injected; "
            "read them before, or give the connection up"
        )


_HANDSHAKE_RECORD = 22


# Serving ------------------------------------------------------------------------------------------


async def listen(mode: ServerTLS, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Load the certificates, and listen on what carries it."""
    keys = (OwnKey(mode.crt_file, mode.key_file, mode.password), *options.certificates)
    what = f"cannot serve {mode}"
    with naming(what):
        settings = server_settings(ctx, keys, options.client_auth)
        certificates = Certificates(stack_of(_library_for(mode)), settings)
        try:
            await certificates.reload()
        except ConduitError:
            raise
        except OSError as error:
            # With the address, and still a FileNotFoundError.
            named = OSError(error.errno, f"{what}: {error.strerror}")
            if type(named) is not type(error):
                raise
            raise named from error
    over = mode.mode if isinstance(mode, server.TLSOver) else server.TCP(mode.port, ip=mode.ip)
    return [
        TLSListener(listener, certificates, ctx)
        for listener in await listen_below(over, ctx, options)
    ]


def server_settings(ctx: Context, keys: Iterable[OwnKey], client_auth: str) -> ServerSettings:
    """The settings of a server. Raises TLSError for a `client_auth` that nothing can be held to."""
    if client_auth not in get_args(ClientAuth):
        known = ", ".join(get_args(ClientAuth))
        raise ValueError(f"client_auth is {client_auth!r}: it is one of {known}")
    trust = _trust_of(ctx)
    if client_auth != "none":
        if trust is None or (trust.verifies and trust.anchors == "os" and not trust.pins):
            raise TLSError(
                f"client_auth={client_auth!r}: say whose certificates clients must have, by "
                "tls_authenticator=conduit.trust.ca(...) in conduit.init; the authorities of the "
                "operating system never authenticate clients"
            )
        if not trust.verifies:
            raise TLSError(
                f"client_auth={client_auth!r} with insecure_no_verification() would check nobody: "
                "use trust.ca or trust.fingerprint, or client_auth='none'"
            )
    return ServerSettings(
        keys=tuple(keys),
        trust=trust,
        alpn=ctx.alpn,
        client_auth=cast("ClientAuth", client_auth),
        key_log=_key_log(ctx),
    )


class Certificates(Reloadable):
    """The certificates of a server as they were last read."""

    def __init__(self, stack: Stack, settings: ServerSettings) -> None:
        self._stack = stack
        self._settings = settings
        self._loaded: ServerCredentials | None = None
        # Of two reloads the one that began first must not end last.
        self._reloading = asyncio.Lock()

    @property
    def files(self) -> tuple[str, ...]:
        """As of all that can be read again."""
        files = [file for key in self._settings.keys for file in (key.crt_file, key.key_file)]
        trust = self._settings.trust
        if self._settings.client_auth != "none" and trust is not None and trust.anchors != "os":
            files += [one for one in trust.anchors or () if isinstance(one, str)]
        return tuple(files)

    @property
    def loaded(self) -> ServerCredentials:
        """The latest that could be read."""
        assert self._loaded is not None, "listen reads them first"
        return self._loaded

    async def reload(self) -> None:
        """As of all that can be read again."""
        async with self._reloading:
            self._loaded = await asyncio.to_thread(self._stack.load_server, self._settings)


class TLSListener(ListenerOver):
    """A listener whose clients do a handshake.

    below: the listener that it stands over, and closes with itself. certificates: what to show.
    """

    __slots__ = ("_certificates", "_ctx")

    def __init__(self, below: Listener, certificates: Certificates, ctx: Context) -> None:
        super().__init__(below)
        self._certificates = certificates
        self._ctx = ctx
        # Nobody can ask for a wildcard.
        names = (name for name in certificates.loaded.names if "*" not in name)
        self.endp = endp.TLS(next(names, "localhost"), below.endp)

    @property
    def reloads(self) -> tuple[Reloadable, ...]:
        """As of every listener."""
        return (self._certificates, *super().reloads)

    def accept(self) -> Arrival:
        """As of every listener."""
        return TLSArrival(super().accept(), self._certificates, self._ctx)


class _ClientAt:
    """How an error calls a client; no text is made of it as long as all is well."""

    __slots__ = ("_flow",)

    def __init__(self, below: flow.Flow) -> None:
        self._flow = below

    def __str__(self) -> str:
        return f"a client at {self._flow}"


class TLSArrival(Arrival):
    """A client that has a handshake before it."""

    __slots__ = ("_below", "_certificates", "_ctx", "_wire")

    handshakes = True

    def __init__(self, below: Arrival, certificates: Certificates, ctx: Context) -> None:
        self._below = below
        self._certificates = certificates
        self._ctx = ctx
        self._wire: Wire | None = None

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As of every arrival."""
        engine = self._certificates.loaded.engine()
        below = await self._below.open(on_closed)
        self._wire = wire = wire_of(below.oc)
        try:
            return await secured(
                below,
                engine,
                self._ctx,
                lambda engine: flow_over(below.flow, _host_of(below, engine)),
                what=_ClientAt(below.flow),
                see_the_end=False,
            )
        except TLSError:
            raise  # it is being closed; `finish` waits for that
        except BaseException:
            # The server takes the place back itself when this raises.
            wire.on_closed = None
            wire.abort()
            raise

    async def finish(self) -> None:
        """As of every arrival."""
        await (self._below.finish() if self._wire is None else closed(self._wire))

    def discard(self) -> None:
        """As of every arrival."""
        self._below.discard()


def _host_of(below: Triple, engine: Engine) -> str:
    """What a client is called: by its address, or where it has none, by what it asked for."""
    match below.flow:
        case flow.TCP(_, ip, _):
            return str(ip).partition("%")[0]
        case _:
            return engine.facts().sni or "localhost"
