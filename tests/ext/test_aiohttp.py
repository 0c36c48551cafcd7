"""aiohttp over our flows: its client by our connector, its server by our site."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from yarl import URL

import conduit
from conduit import client, endp, server, trust
from conduit.ext.aiohttp import ConduitConnector, ConduitSite
from tests.certificates import Certificates
from tests.peers.http_server import BIG
from tests.peers.tls_server import on_one_loop

TCP = "tcp://127.0.0.1:0"


class App:
    """An application, and what happened to it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.left = asyncio.Event()
        self.produced = 0
        self.file: Path | None = None
        self.ended = False
        self.web = web.Application(client_max_size=100_000_000)
        self.web.router.add_get("/wait", self.wait)
        self.web.router.add_get("/endless", self.endless)
        self.web.router.add_get("/file", self.send_file)
        self.web.router.add_get("/ws", self.talk)
        self.web.router.add_route("*", "/{path:.*}", self.tell)
        self.web.on_cleanup.append(self._end)

    async def _end(self, _: web.Application) -> None:
        self.ended = True

    async def tell(self, request: web.Request) -> web.Response:
        told = {
            "scheme": request.scheme,
            "remote": request.remote,
            "path": request.path,
            "sha256": hashlib.sha256(await request.read()).hexdigest(),
        }
        return web.json_response(told)

    async def wait(self, request: web.Request) -> web.Response:
        self.entered.set()
        await self.release.wait()
        return web.Response(text="waited")

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(100_000))
                self.produced += 100_000
                await asyncio.sleep(0)
        finally:
            self.left.set()

    async def send_file(self, request: web.Request) -> web.FileResponse:
        assert self.file is not None
        return web.FileResponse(self.file)

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.scheme} {message.data}")
        return socket


@contextlib.asynccontextmanager
async def running(app: App, mode: Any, **options: Any) -> AsyncGenerator[ConduitSite]:
    runner = web.AppRunner(app.web, access_log=None, shutdown_timeout=10)
    await runner.setup()
    site = ConduitSite(runner, mode, **options)
    await site.start()
    try:
        yield site
    finally:
        await runner.cleanup()
        await site.wait_closed()
    assert app.ended


@contextlib.asynccontextmanager
async def browser(target: Any = None, **options: Any) -> AsyncGenerator[aiohttp.ClientSession]:
    connector = ConduitConnector(target, **options)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def get(session: aiohttp.ClientSession, url: str, **options: Any) -> Any:
    async with session.get(url, **options) as response:
        return await response.json()


def test_what_the_adapter_stands_on_is_as_it_knows_it() -> None:
    # When this fails, aiohttp has changed inside: look at ConduitConnector, then at the extra.
    assert aiohttp.__version__.startswith("3.14.")
    create = inspect.signature(aiohttp.BaseConnector._create_connection)
    assert list(create.parameters) == ["self", "req", "traces", "timeout"]
    assert list(inspect.signature(ResponseHandler).parameters) == ["loop"]
    request = aiohttp.ClientRequest("GET", URL("https://h:1/"), loop=asyncio.new_event_loop())
    request.loop.close()
    assert (request.host, request.port, request.is_ssl(), request.ssl) == ("h", 1, True, True)
    assert (request.proxy, request.server_hostname) == (None, None)
    assert request.connection_key.host == "h"


async def test_tcp_and_connections_that_are_used_again() -> None:
    async with running(App(), TCP) as site, browser() as session:
        where = site.endps[0]
        assert isinstance(where, endp.TCP)
        for host in ("127.0.0.1", "localhost"):
            told = await get(session, f"http://{host}:{where.port}/x")
            assert (told["scheme"], told["remote"], told["path"]) == ("http", "127.0.0.1", "/x")
        ports = set()
        for _ in range(3):
            async with session.get(f"http://localhost:{where.port}/") as response:
                transport = response.connection and response.connection.transport
                ports.add(transport and transport.get_extra_info("sockname"))
                await response.read()
        assert len(ports) == 1


async def test_unix_and_a_big_upload(socket_path: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        for start in range(0, len(BIG), 100_000):
            yield BIG[start : start + 100_000]

    async with running(App(), f"unix:{socket_path}") as site, browser(site.endps[0]) as session:
        assert site.name == f"unix:{socket_path}"
        async with session.put("http://app/x", data=content()) as response:
            told = await response.json()
    assert told["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert told["remote"] in (None, "")


@pytest.mark.parametrize("stack", ["openssl", "native"])
async def test_tls_as_the_request_asks_for_it(stack: str, certificates: Certificates) -> None:
    key = certificates.key()
    kind = server.OpenSSL if stack == "openssl" else server.TLSNative
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode = kind(key.crt_file, key.key_file, None, 0)
    theirs = ssl.create_default_context(cadata=certificates.trusted.decode())
    stranger = ssl.create_default_context(cadata=certificates.other_ca.pem.decode())
    async with running(App(), mode, on_exn=lambda _: None) as site:
        where = site.endps[0]
        assert isinstance(where, endp.TLS)
        assert isinstance(where.endp, endp.TCP)
        url = f"https://localhost:{where.endp.port}/"
        async with browser(ctx=ctx) as session:
            assert (await get(session, url))["scheme"] == "https"
        async with browser() as session:
            assert (await get(session, url, ssl=theirs))["scheme"] == "https"
            assert (await get(session, url, ssl=False))["scheme"] == "https"
            for untrusting in ({"ssl": stranger}, {}):
                with pytest.raises(aiohttp.ClientConnectorCertificateError, match="certificate"):
                    await get(session, url, **untrusting)
            pem = Path(key.crt_file).read_text("ascii")
            own = hashlib.sha256(
                ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END") + 26])
            ).digest()
            assert (await get(session, url, ssl=aiohttp.Fingerprint(own)))["scheme"] == "https"
            with pytest.raises(aiohttp.ServerFingerprintMismatch):
                await get(session, url, ssl=aiohttp.Fingerprint(bytes(32)))


async def test_tls_in_tls_over_a_unix_socket(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    unix = client.UnixDomainSocket(socket_path)
    mode: server.Mode = server.UnixDomainSocket(socket_path)
    for _ in range(2):
        mode = server.TLSOver(mode, key.crt_file, key.key_file, None)
    async with running(App(), mode), browser(client.TLSOver("localhost", unix), ctx=ctx) as session:
        told = await get(session, "https://localhost/x")
    assert (told["scheme"], told["path"]) == ("https", "/x")


async def test_websockets(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)
    async with running(App(), mode), browser(f"unix:{socket_path}", ctx=ctx) as session:
        async with session.ws_connect("wss://localhost/ws") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "https hello"
            await socket.send_str("x" * 1_000_000)
            assert len(await socket.receive_str()) == 1_000_006


@pytest.mark.parametrize("name", ["tcp", "tls"])
async def test_a_file(name: str, tmp_path: Path, certificates: Certificates) -> None:
    app = App()
    app.file = tmp_path / "file"
    await asyncio.to_thread(app.file.write_bytes, BIG)
    key = certificates.key()
    mode = TCP if name == "tcp" else server.TLS(key.crt_file, key.key_file, None, 0)
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    async with running(app, mode) as site, browser(site.endps[0], ctx=ctx) as session:
        async with session.get("http://localhost/file") as response:
            assert await response.read() == BIG


@on_one_loop
async def test_an_application_waits_for_a_client_that_does_not_read(socket_path: str) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}") as site, browser(site.endps[0]) as session:
        async with session.get("http://app/endless") as response:
            before = -1
            while app.produced != before:
                before = app.produced
                await asyncio.sleep(0.03)
            # What the kernel, both wires and the client hold.
            assert 0 < app.produced < 6_000_000
            response.close()
        await app.left.wait()


async def test_a_request_that_runs_is_completed_when_the_runner_ends(socket_path: str) -> None:
    app = App()
    async with browser(f"unix:{socket_path}") as session:
        async with running(app, f"unix:{socket_path}"):
            await get(session, "http://app/")
            answer = asyncio.ensure_future(session.get("http://app/wait"))
            await app.entered.wait()
            asyncio.get_running_loop().call_later(0.05, app.release.set)
        assert await (await answer).text() == "waited"
        with pytest.raises(aiohttp.ClientConnectorError, match=socket_path):
            await session.get("http://app/")


async def test_errors_are_those_of_aiohttp() -> None:
    released = asyncio.Event()

    async def answer(f: Any, ic: Any, oc: Any) -> None:
        request = await ic.readuntil(b"\r\n\r\n")
        if b"/half" in request:
            await oc.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        else:
            await released.wait()

    async with conduit.listen(TCP, answer) as srv:
        async with browser(srv.endps[0]) as session:
            brief = aiohttp.ClientTimeout(sock_read=0.05, sock_connect=0.05)
            with pytest.raises(aiohttp.ServerTimeoutError):
                await session.get("http://app/slow", timeout=brief)
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                # The handshake is a part of connecting.
                await session.get("https://app/slow", timeout=brief)
            with pytest.raises(aiohttp.ClientPayloadError):
                await (await session.get("http://app/half")).read()
            with pytest.raises(ValueError, match=r"client\.HTTPConnect"):
                await session.get("http://app/", proxy="http://proxy:3128")
        async with browser() as session:
            with pytest.raises(aiohttp.ClientConnectorDNSError, match=r"nobody\.invalid"):
                await session.get("http://nobody.invalid/")
        released.set()


async def test_cancelling_a_request_closes_its_connection() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def wait(f: Any, ic: Any, oc: Any) -> None:
        await ic.readuntil(b"\r\n\r\n")
        told.put_nowait("asked")
        assert await ic.read() == b""
        told.put_nowait("left")

    async with conduit.listen(TCP, wait) as srv, browser(srv.endps[0]) as session:
        task = asyncio.ensure_future(get(session, "http://app/"))
        assert await told.get() == "asked"
        task.cancel()
        assert await told.get() == "left"
        with pytest.raises(asyncio.CancelledError):
            await task
