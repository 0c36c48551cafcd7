"""httpcore over any flow: HTTP over Unix sockets, vsock, TLS in TLS, and names that are discovered.

    backend = ConduitBackend("unix:/run/app.sock")
    pool = httpcore.AsyncConnectionPool(network_backend=backend)

Needs httpcore: `pip install "conduit-net[httpcore]"`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from .. import client, flow
from .._connect import connect
from .._deadlines import TimeLimit
from .._start_tls import start_tls
from .._tailored import tailored
from ..channels import wire_of
from ..context import Context, default_ctx
from ..errors import AddressError
from ..transports import Triple
from ._needed import needs
from ._routes import Routes, Target
from ._ssl_object import ssl_object
from ._their_tls import TheirTLS

with needs("httpcore"):
    import httpcore


class ConduitBackend(httpcore.AsyncNetworkBackend):
    """The network of an `httpcore.AsyncConnectionPool`, which goes by addresses of ours.

    target: where all connections go, whatever the host of their URL: an address of
    `conduit.client`, an endpoint, or the text of one (default: to the host and port of the URL, by
    the resolver of the context). ctx: settings of the connections (default: `default_ctx()`).
    routes: where connections to some hosts go instead, by "HOST" or "HOST:PORT".

    The host of the URL stays what is asked for: in the header `Host`, and by TLS for "https".

    Raises AddressError for a target that cannot be.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        routes: Mapping[str, Target] | None = None,
    ) -> None:
        self._ctx = ctx
        self._routes = Routes(target, routes, ctx)
        self._theirs = TheirTLS()

    @property
    def _context(self) -> Context:
        return default_ctx() if self._ctx is None else self._ctx

    def ssl_context(self) -> ssl.SSLContext:
        """What to give to one pool, so that its TLS is by the context of this backend.

        So it trusts whom the context trusts, shows its `tls_own_key` and resumes sessions, by
        whichever stack `tls_library` names. It is of no use to anything but a pool with this
        backend. Without it the pool's own `ssl.SSLContext` counts, and nothing else.
        """
        theirs = self._context.ssl_ctx
        return _Ours() if theirs is None else theirs

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to where this backend says.

        timeout: seconds, for all of it. local_address: the source, in place of the context's.
        socket_options: set when it is TCP. Raises httpcore.ConnectError and ConnectTimeout.
        """
        with _mapped(httpcore.ConnectError):
            ctx = self._context
            if local_address is not None:
                ctx = tailored(ctx, src=(ipaddress.ip_address(local_address),))
            triple = await connect(self._routes.target(host, port), ctx=ctx, timeout=timeout)
            _set_options(triple, socket_options if isinstance(triple.flow, flow.TCP) else None)
        return ConduitStream(triple, self)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a path: that of a pool with `uds=`. As `connect_tcp`."""
        with _mapped(httpcore.ConnectError):
            where = client.UnixDomainSocket(path)
            triple = await connect(where, ctx=self._context, timeout=timeout)
            _set_options(triple, socket_options)
        return ConduitStream(triple, self)

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts. seconds: how long."""
        await asyncio.sleep(seconds)

    def tls_context(self, ssl_context: ssl.SSLContext) -> Context:
        """The settings of ours for TLS by a pool's `ssl_context`."""
        ctx = self._context
        if isinstance(ssl_context, _Ours):
            return tailored(ctx, alpn=ssl_context.offered or None)
        return self._theirs.context(ctx, ssl_context)


class ConduitStream(httpcore.AsyncNetworkStream):
    """A flow as httpcore wants it. Made by the backend, not by hand."""

    def __init__(self, triple: Triple, backend: ConduitBackend) -> None:
        self._triple = triple
        self._backend = backend

    def __repr__(self) -> str:
        return f"<ConduitStream {self._triple.flow}>"

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is, at most `max_bytes`; nothing at the end. timeout: seconds.

        Raises httpcore.ReadError, also for TLS that was cut short, and ReadTimeout.
        """
        limit = TimeLimit(timeout)
        try:
            with limit:
                return await self._triple.ic.read(max_bytes)
        except OSError as error:
            if limit.expired:
                message = f"{self._triple.flow} sent nothing within {timeout:g} s"
                raise httpcore.ReadTimeout(message) from error
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, and wait until there is room for more. timeout: seconds.

        Raises httpcore.WriteError and WriteTimeout.
        """
        limit = TimeLimit(timeout)
        try:
            with limit:
                await self._triple.oc.write(buffer)
        except OSError as error:
            if limit.expired:
                message = f"{self._triple.flow} took in nothing for {timeout:g} s"
                raise httpcore.WriteTimeout(message) from error
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the flow. Nothing that httpcore closes waits for an answer, so this does not."""
        wire = wire_of(self._triple.oc)
        if wire.backlog:
            # Half of a request that was given up.
            wire.abort()
        else:
            wire.close()
            wire.hurry()
        try:
            await wire.wait_closed()
        except asyncio.CancelledError:
            wire.abort()
            raise

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Begin TLS on this flow, and return a stream in place of this one.

        ssl_context: whose settings count; that of `ConduitBackend.ssl_context` stands for the
        context of the backend. server_hostname: whom the certificate must be for. timeout: seconds.
        Raises httpcore.ConnectError and ConnectTimeout; then the flow is closed.
        """
        try:
            with _mapped(httpcore.ConnectError):
                secure = await start_tls(
                    *self._triple,
                    hostname=server_hostname,
                    ctx=self._backend.tls_context(ssl_context),
                    timeout=timeout,
                )
        except BaseException:
            wire_of(self._triple.oc).abort()
            raise
        return ConduitStream(secure, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """A fact about the flow.

        info: "ssl_object", "client_addr", "server_addr", "socket", "is_readable", or any name of
        `Output.get_extra_info`. Returns None for what is not known.
        """
        oc = self._triple.oc
        match info:
            case "is_readable":
                return self._is_readable()
            case "client_addr":
                return oc.get_extra_info("sockname")
            case "server_addr":
                return oc.get_extra_info("peername")
            case "ssl_object":
                return ssl_object(oc)
            case _:
                return oc.get_extra_info(info)

    def _is_readable(self) -> bool:
        """Whether input is there, or the end: an idle connection has neither while it is good."""
        wire = wire_of(self._triple.oc)
        if wire.buffer or wire.ended:
            return True
        # The loop may not have had its turn since it came.
        sock = self._triple.oc.get_extra_info("socket")
        return sock is not None and _has_input(sock.fileno())


class _Ours(ssl.SSLContext):
    """Stands where a pool wants an `ssl.SSLContext`, and says which protocols it wants.

    By itself it trusts nobody, so whoever takes it for a real one can connect to nobody.
    """

    offered: tuple[str, ...] = ()

    def __new__(cls) -> _Ours:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Remember what the pool would like to speak."""
        self.offered = tuple(alpn_protocols)


@contextlib.contextmanager
def _mapped(kind: type[httpcore.NetworkError]) -> Generator[None]:
    """Raise as httpcore does what goes wrong with connecting."""
    try:
        yield
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error) or "the handshake took too long") from error
    except (OSError, AddressError) as error:
        raise kind(str(error)) from error


def _set_options(triple: Triple, options: Iterable[httpcore.SOCKET_OPTION] | None) -> None:
    try:
        for option in options or ():
            triple.oc.get_extra_info("socket").setsockopt(*option)
    except BaseException:
        wire_of(triple.oc).abort()
        raise


def _has_input(fd: int) -> bool:
    import select

    if fd < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([fd], [], [], 0)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
