"""aiohttp over any flow: a connector for its client, and a site for its server.

    session = aiohttp.ClientSession(connector=ConduitConnector("unix:/run/app.sock"))
    site = ConduitSite(runner, "tls+unix:/run/app.sock?crt=…&key=…")

Needs aiohttp: `pip install "conduit-net[aiohttp]"`, of a version that is known to this one, since a
connector stands on what is not documented.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from .. import endp
from .._connect import connect
from .._deadlines import TimeLimit
from .._server import Server
from .._start_tls import start_tls
from .._tailored import tailored
from ..channels import wire_of
from ..context import Context, Verify, default_ctx
from ..errors import AddressError, CertificateError, ResolutionError, TLSError
from ..tls import trust
from ..transports import Triple
from ._http_server import ListenOptions, Mode, begin, serving
from ._needed import needs
from ._routes import Routes, Target
from ._their_tls import TheirTLS
from .protocols import FlowTransport

with needs("aiohttp"):
    import aiohttp
    from aiohttp import web
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

# Seconds that connections which arrive at the last moment get, if the runner says nothing else.
_DRAIN = 60.0


class ConduitConnector(aiohttp.BaseConnector):
    """The connector of an `aiohttp.ClientSession`, which goes by addresses of ours.

    target: where all connections go, whatever the host of their URL: an address of
    `conduit.client`, an endpoint, or the text of one (default: to the host and port of the URL, by
    the resolver of the context). ctx: settings of the connections (default: `default_ctx()`).
    routes: where connections to some hosts go instead, by "HOST" or "HOST:PORT". options: those of
    `aiohttp.BaseConnector`: `limit`, `limit_per_host`, `keepalive_timeout`, `force_close`.

    For "https" the `ssl=` of a request counts as ever: an `ssl.SSLContext`, False or an
    `aiohttp.Fingerprint`. Where there is none, TLS is by `ctx`, so that `conduit.trust` says whom
    to trust. A `proxy=` is refused: say it by the address (`client.HTTPConnect`, `client.SOCKS5`).

    Raises AddressError for a target that cannot be. Requests raise aiohttp's own errors.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        routes: Mapping[str, Target] | None = None,
        **options: Any,
    ) -> None:
        self._routes = Routes(target, routes, ctx)
        self._ctx = ctx
        self._theirs = TheirTLS()
        self._lax: Context | None = None
        super().__init__(**options)

    async def _create_connection(
        self, req: ClientRequest, traces: Sequence[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if req.proxy is not None:
            raise ValueError(
                "a ConduitConnector takes no proxy=: say it by its target, as "
                "client.HTTPConnect or client.SOCKS5"
            )
        key = req.connection_key
        limit = TimeLimit(timeout.sock_connect)
        try:
            with limit:
                _, ic, oc = await self._connect(req)
        except CertificateError as error:
            refused = ssl.SSLCertVerificationError(1, str(error))
            raise aiohttp.ClientConnectorCertificateError(key, refused) from error
        except TLSError as error:
            raise aiohttp.ClientConnectorSSLError(key, _worded(error)) from error
        except ResolutionError as error:
            raise aiohttp.ClientConnectorDNSError(key, _worded(error)) from error
        except (OSError, AddressError) as error:
            if limit.expired:
                raise TimeoutError(f"no connection within {timeout.sock_connect:g} s") from error
            raise aiohttp.ClientConnectorError(key, _worded(error)) from error
        protocol = ResponseHandler(asyncio.get_running_loop())
        _ClientTransport(ic, oc, protocol)
        return protocol

    async def _connect(self, req: ClientRequest) -> Triple:
        ctx = default_ctx() if self._ctx is None else self._ctx
        host, port = req.host, req.port
        assert port is not None, "a URL of HTTP has a port"
        triple = await connect(self._routes.target(host, port), ctx=ctx, timeout=None)
        if not req.is_ssl():
            return triple
        try:
            secure = await start_tls(
                *triple,
                # Certificates have names without the dot of a name that is complete.
                hostname=(req.server_hostname or host).rstrip("."),
                ctx=self._tls_context(ctx, req.ssl),
                timeout=None,
            )
        except BaseException:
            wire_of(triple.oc).abort()
            raise
        if isinstance(req.ssl, aiohttp.Fingerprint):
            shown: bytes = secure.oc.get_extra_info("peer_certificate", b"")
            found = hashlib.sha256(shown).digest()
            if found != req.ssl.fingerprint:
                wire_of(secure.oc).abort()
                raise aiohttp.ServerFingerprintMismatch(req.ssl.fingerprint, found, host, port)
        return secure

    def _tls_context(self, ctx: Context, asked: object) -> Context:
        """The settings for TLS by the `ssl=` of a request."""
        if isinstance(asked, ssl.SSLContext):
            return self._theirs.context(ctx, asked)
        if asked is True:
            return tailored(ctx, alpn=("http/1.1",)) if ctx.ssl_ctx is None else ctx
        if self._lax is None:
            # False, or a fingerprint that is compared afterwards.
            self._lax = dataclasses.replace(
                ctx,
                ssl_ctx=None,
                tls_authenticator=trust.insecure_no_verification(),
                ssl_client_verify=Verify(hostname=False, ip=False),
                alpn=("http/1.1",),
            )
        return self._lax


class _ClientTransport(FlowTransport):
    """The transport of a client: when it closes, it waits for nothing from the server."""

    def close(self) -> None:
        """Close the flow; the server has all that it was sent."""
        super().close()
        self._wire.hurry()


def _worded(error: Exception) -> OSError:
    """An error with the words of ours where aiohttp looks for them."""
    return OSError(getattr(error, "errno", None) or 0, str(error))


class ConduitSite(web.BaseSite):
    """A site of an aiohttp runner, which listens where an address of ours says.

    runner: an `aiohttp.web.AppRunner` or `ServerRunner` that is set up. mode: a value of
    `conduit.server`, an endpoint, or the text of one; TLS is a part of it. options: `ctx`,
    `backlog`, `on_exn`, `handshake_timeout`, `idle_timeout`, `max_active`, `client_auth`,
    `unix_mode`, `reuse_port`, `certificates`, `reload_interval` of `conduit.listen`.

    `request.scheme` is "https" for TLS of ours, and `request.remote` the address of the peer, None
    for a Unix socket. The runner ends it as it ends every site.
    """

    __slots__ = ("_listening", "_mode", "_options", "_stopping")

    def __init__(
        self, runner: web.BaseRunner, mode: Mode, **options: Unpack[ListenOptions]
    ) -> None:
        super().__init__(runner)
        self._mode = mode
        self._options = options
        self._listening: Server | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Where it listens, as text."""
        return ", ".join(map(str, self.endps)) or str(self._mode)

    @property
    def endps(self) -> tuple[endp.Endp, ...]:
        """How to reach it, with the real port; nothing before it has started."""
        return () if self._listening is None else self._listening.endps

    async def start(self) -> None:
        """Listen. Raises what `conduit.listen` raises."""
        factory = self._runner.server
        assert factory is not None, "checked by the base class"
        self._listening = await begin(self._mode, serving(factory), self._options)
        try:
            await super().start()
        except BaseException:
            await self._listening.stop(drain=0)
            raise

    async def stop(self) -> None:
        """Listen no more; clients who are in the queue are still let in.

        The runner waits for requests that run. `wait_closed` tells when the flows are closed, too.
        """
        await super().stop()
        if self._listening is not None and self._stopping is None:
            self._stopping = asyncio.ensure_future(self._listening.stop(drain=_DRAIN))
            # The listeners are closed, and those who were let in have a protocol.
            for _ in range(3):
                await asyncio.sleep(0)

    async def wait_stopping(self) -> None:
        """Wait until it listens no more: until `conduit.run` gets a signal, say.

        What a program does while it serves; then it calls `cleanup` of the runner.
        """
        assert self._listening is not None, "call start() first"
        await self._listening.wait_stopping()

    async def wait_closed(self) -> None:
        """Wait until all is closed that has come by this site."""
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
