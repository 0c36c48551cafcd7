"""Hypercorn on addresses of ours, with real clients: httpx and websockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from hypercorn import Config

import conduit
from conduit import server, trust
from conduit.ext.httpx import ConduitTransport
from conduit.ext.hypercorn import serve
from conduit.ext.websockets import connect
from tests.certificates import Certificates
from tests.ext.asgi_app import App
from tests.ext.uvicorn_server import browser, read_nothing, refused
from tests.peers.http_server import BIG
from tests.peers.tls_server import on_one_loop

TCP = "tcp://127.0.0.1:0"


class Running:
    """A server that runs. listening: of ours. stop: set to end it."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.listening: asyncio.Future[conduit.Server] = asyncio.get_running_loop().create_future()

    async def endp(self) -> Any:
        return (await self.listening).endps[0]


@contextlib.asynccontextmanager
async def running(
    app: Any, mode: Any, *, options: Any = None, **settings: Any
) -> AsyncGenerator[Running]:
    config = Config()
    for name, value in settings.items():
        setattr(config, name, value)
    web = Running()
    serving = serve(
        app,
        config,
        mode,
        shutdown_trigger=web.stop.wait,
        started=web.listening.set_result,
        **(options or {}),
    )
    task = asyncio.ensure_future(serving)
    waits: list[asyncio.Future[Any]] = [task, web.listening]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield web
    finally:
        web.stop.set()
        await task


async def test_tcp() -> None:
    app = App()
    async with running(app, TCP) as web, browser(await web.endp()) as http:
        await http.post("http://app/x", content=BIG)
        told = (await http.post("http://app/x", content=BIG)).json()
        assert told["client"][0] == "127.0.0.1"
        assert told["server"] == ["127.0.0.1", (await web.endp()).port]
        assert (told["scheme"], told["path"], told["state"]) == (
            "http",
            "/x",
            {"greeting": "hello"},
        )
        assert told["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_unix(socket_path: str) -> None:
    async with running(App(), f"unix:{socket_path}") as web, browser(await web.endp()) as http:
        told = (await http.get("http://app/")).json()
    assert (told["client"], told["server"]) == (None, None)


@pytest.mark.parametrize("stack", ["openssl", "native"])
async def test_tls_and_http2(stack: str, certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    kind = server.OpenSSL if stack == "openssl" else server.TLSNative
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    async with running(App(), kind(key.crt_file, key.key_file, None, 0)) as web:
        port = (await web.endp()).endp.port
        for http2, spoken in ((True, "2"), (False, "1.1")):
            transport = ConduitTransport(ctx=ctx, http2=http2)
            async with httpx.AsyncClient(transport=transport) as http:
                answers = await asyncio.gather(
                    *(http.post(f"https://localhost:{port}/", content=BIG[:300_000]) for _ in "abc")
                )
                for answer in answers:
                    told = answer.json()
                    assert (told["scheme"], told["http"]) == ("https", spoken)
                    assert told["sha256"] == hashlib.sha256(BIG[:300_000]).hexdigest()


async def test_http2_over_tls_of_the_address(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted), alpn=("h2",))
    target = f"tls+unix:{socket_path}?hostname=localhost"
    async with running(App(), mode), browser(target, ctx) as http:
        assert (await http.get("http://app/")).json()["http"] == "2"


async def test_websockets(socket_path: str) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}"):
        async with connect("ws://app/", f"unix:{socket_path}") as websocket:
            assert await websocket.recv() == "ws"
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
    assert app.events == ["lifespan.startup", "websocket.disconnect", "lifespan.shutdown"]


async def test_a_wsgi_application(socket_path: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    async with running(app, f"unix:{socket_path}") as web, browser(await web.endp()) as http:
        assert (await http.get("http://app/x")).text == "/x"


@on_one_loop
async def test_an_application_waits_for_a_client_that_does_not_read(socket_path: str) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}") as web:
        await read_nothing(app, await web.endp())


async def test_a_request_that_runs_is_completed_when_the_server_stops(socket_path: str) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}") as web:
        async with browser(await web.endp(), timeout=20) as http:
            answer = asyncio.ensure_future(http.get("http://app/wait"))
            await app.entered.wait()
            idle = browser(await web.endp())
            await idle.get("http://app/")
            web.stop.set()
            await refused(f"unix:{socket_path}")
            app.release.set()
            assert (await answer).json()["path"] == "/wait"
            await idle.aclose()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_request_that_takes_too_long_is_cancelled_when_the_server_stops(
    socket_path: str,
) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}", graceful_timeout=0.05) as web:
        async with browser(await web.endp(), timeout=20) as http:
            answer = asyncio.ensure_future(http.get("http://app/wait"))
            await app.entered.wait()
            web.stop.set()
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                assert (await answer).status_code == 500
    assert app.events[-1] == "lifespan.shutdown"


async def test_what_cannot_be_listened_on_is_an_error_after_which_the_application_ends() -> None:
    app = App()
    with pytest.raises(OSError, match="/nowhere/at/all"):
        await serve(app, Config(), "unix:/nowhere/at/all")
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_application_that_does_not_start_is_an_error(socket_path: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(Exception, match="no database"):
        await serve(app, Config(), f"unix:{socket_path}")


async def test_a_config_with_tls_of_its_own_is_refused(certificates: Certificates) -> None:
    config = Config()
    config.certfile = config.keyfile = certificates.key().crt_file
    with pytest.raises(ValueError, match="say it by the address"):
        await serve(App(), config, TCP)


async def test_cancelling_ends_it(socket_path: str) -> None:
    app = App()
    listening = asyncio.get_running_loop().create_future()
    serving = serve(app, Config(), f"unix:{socket_path}", started=listening.set_result)
    task = asyncio.ensure_future(serving)
    await listening
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]
