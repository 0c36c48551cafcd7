"""httpx over any flow: HTTP over Unix sockets, vsock, TLS in TLS, and names that are discovered.

    async with httpx.AsyncClient(transport=ConduitTransport("unix:/run/app.sock")) as http:
        response = await http.get("http://app/")

Needs httpx: `pip install "conduit-net[httpx]"`.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, cast

from ..context import Context
from ._needed import needs
from ._routes import Target

with needs("httpx"):
    import httpcore
    import httpx

    from .httpcore import ConduitBackend

# What httpx has when nothing is said; it has no public name there.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)

# Errors that both libraries have, by the same name.
_NAMES = frozenset(
    (
        "TimeoutException",
        "ConnectTimeout",
        "ReadTimeout",
        "WriteTimeout",
        "PoolTimeout",
        "NetworkError",
        "ConnectError",
        "ReadError",
        "WriteError",
        "ProxyError",
        "UnsupportedProtocol",
        "ProtocolError",
        "LocalProtocolError",
        "RemoteProtocolError",
    )
)


class ConduitTransport(httpx.AsyncBaseTransport):
    """The transport of an `httpx.AsyncClient`, which goes by addresses of ours.

    target, ctx and routes: as of `conduit.ext.httpcore.ConduitBackend`: where connections go,
    by which settings, and which go elsewhere. ssl_context: whose settings count for "https"
    (default: those of `ctx`, so that `conduit.trust` says whom to trust). http1, http2: which
    versions are spoken (default: HTTP/1.1 alone; the other needs `httpx[http2]`). limits: how many
    connections there may be (default: 100, and 20 of them idle). retries: how often a connection
    that cannot be made is tried again (default: never). local_address: the source, in place of the
    context's. socket_options: set on TCP.

    Raises AddressError for a target that cannot be.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        routes: Mapping[str, Target] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _LIMITS,
        retries: int = 0,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> None:
        backend = ConduitBackend(target, ctx=ctx, routes=routes)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=backend.ssl_context() if ssl_context is None else ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            socket_options=None if socket_options is None else list(socket_options),
            network_backend=backend,
        )

    async def __aenter__(self) -> ConduitTransport:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        with _mapped():
            await self._pool.__aexit__(exc_type, exc_value, traceback)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the response when its headers are there.

        Raises the errors of httpx.
        """
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _mapped():
            answer = await self._pool.handle_async_request(asked)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=cast("dict[str, Any]", answer.extensions),  # pyright: ignore[reportUnknownMemberType]
        )

    async def aclose(self) -> None:
        """Close all connections."""
        with _mapped():
            await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The content of a response, as it comes in."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, AsyncIterable)
        with _mapped():
            async for part in self._response.stream:
                yield part

    async def aclose(self) -> None:
        with _mapped():
            await self._response.aclose()


@contextlib.contextmanager
def _mapped() -> Generator[None]:
    """Raise an error of httpcore as that of httpx which has the same name."""
    try:
        yield
    except Exception as error:
        known = (
            one.__name__ for one in type(error).__mro__ if one.__module__.startswith("httpcore")
        )
        for name in known:
            if name in _NAMES:
                raise getattr(httpx, name)(str(error)) from error
        raise
