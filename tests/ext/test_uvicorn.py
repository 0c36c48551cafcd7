"""uvicorn on addresses of ours, with real clients: httpx and websockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import httpx
import pytest
import uvicorn

import conduit
from conduit import client, server, trust
from conduit.ext.uvicorn import ConduitServer
from tests.certificates import Certificates
from tests.ext.asgi_app import App
from tests.ext.uvicorn_server import browser, read_nothing, refused, running
from tests.peers.http_server import BIG
from tests.peers.tls_server import on_one_loop
from tests.vsock_loopback import LOCAL, needs_vsock

TCP = "tcp://127.0.0.1:0"
HTTP = ("h11", "httptools")


@pytest.mark.parametrize("implementation", HTTP)
async def test_tcp(implementation: str) -> None:
    app = App()
    async with running(app, TCP, http=implementation) as web:
        assert app.events == ["lifespan.startup"]
        async with browser(web.endps[0]) as http:
            await http.post("http://app/x", content=BIG)
            told = (await http.post("http://app/x", content=BIG)).json()
        assert told["client"][0] == "127.0.0.1"
        assert told["server"] == ["127.0.0.1", web.endps[0].port]  # type: ignore[union-attr]
        assert (told["scheme"], told["path"], told["state"]) == (
            "http",
            "/x",
            {"greeting": "hello"},
        )
        assert told["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_unix_socket_has_a_path_and_no_client(socket_path: str) -> None:
    async with running(App(), f"unix:{socket_path}", listening={"unix_mode": 0o600}) as web:
        async with browser(web.endps[0]) as http:
            told = (await http.get("http://app/")).json()
    assert (told["client"], told["server"]) == (None, [socket_path, None])


@pytest.mark.parametrize("stack", ["openssl", "native"])
async def test_tls_is_https(stack: str, certificates: Certificates) -> None:
    key = certificates.key()
    kind = server.OpenSSL if stack == "openssl" else server.TLSNative
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    async with running(App(), kind(key.crt_file, key.key_file, None, 0)) as web:
        async with browser(None, ctx) as http:
            port = web.endps[0].endp.port  # type: ignore[union-attr]
            told = (await http.get(f"https://localhost:{port}/")).json()
    assert (told["scheme"], told["client"][0][-9:]) == ("https", "127.0.0.1")


async def test_tls_in_tls_over_a_unix_socket(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode: server.Mode = server.UnixDomainSocket(socket_path)
    target: client.Client = client.UnixDomainSocket(socket_path)
    for _ in range(2):
        mode = server.TLSOver(mode, key.crt_file, key.key_file, None)
        target = client.TLSOver("localhost", target)
    async with running(App(), mode), browser(target, ctx) as http:
        told = (await http.put("http://app/", content=BIG)).json()
    assert told["scheme"] == "https"
    assert told["sha256"] == hashlib.sha256(BIG).hexdigest()


def test_a_config_with_tls_of_its_own_is_refused(certificates: Certificates) -> None:
    config = uvicorn.Config(App(), ssl_certfile=certificates.key().crt_file, log_config=None)
    with pytest.raises(ValueError, match="say it by the address"):
        ConduitServer(config, TCP)


async def test_what_cannot_be_listened_on_is_an_error_after_which_the_application_ends() -> None:
    app = App()
    web = ConduitServer(uvicorn.Config(app, log_config=None), "unix:/nowhere/at/all")
    with pytest.raises(OSError, match="/nowhere/at/all"):
        await web.serve()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


@on_one_loop
@pytest.mark.parametrize("implementation", HTTP)
async def test_an_application_waits_for_a_client_that_does_not_read(
    implementation: str, socket_path: str
) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}", http=implementation) as web:
        await read_nothing(app, web.endps[0])


@pytest.mark.parametrize("implementation", HTTP)
async def test_a_request_that_runs_is_completed_when_the_server_stops(
    implementation: str, socket_path: str
) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}", http=implementation) as web:
        async with browser(web.endps[0], timeout=20) as http:
            answer = asyncio.ensure_future(http.get("http://app/wait"))
            await app.entered.wait()
            idle = browser(web.endps[0])
            await idle.get("http://app/")
            web.should_exit = True
            # The listener goes before requests are done.
            await refused(f"unix:{socket_path}")
            app.release.set()
            assert (await answer).json()["path"] == "/wait"
            await idle.aclose()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_request_that_takes_too_long_is_cancelled_when_the_server_stops(
    socket_path: str,
) -> None:
    app = App()
    mode = f"unix:{socket_path}"
    async with running(app, mode, timeout_graceful_shutdown=0) as web:
        async with browser(web.endps[0], timeout=20) as http:
            answer = asyncio.ensure_future(http.get("http://app/wait"))
            await app.entered.wait()
            web.should_exit = True
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                assert (await answer).status_code == 500
    assert app.events[-1] == "lifespan.shutdown"


async def test_a_client_in_the_queue_is_served_although_the_server_stops(socket_path: str) -> None:
    app = App()
    async with running(app, f"unix:{socket_path}", listening={"max_active": 1}) as web:
        async with browser(web.endps[0], timeout=20) as first:
            answer = asyncio.ensure_future(first.get("http://app/wait"))
            await app.entered.wait()
            # Connected, and accepted by nobody while the first is there.
            _, ic, oc = await conduit.connect(f"unix:{socket_path}")
            oc.write(b"GET /late HTTP/1.1\r\nHost: app\r\n\r\n")
            web.should_exit = True
            await refused(f"unix:{socket_path}")
            app.release.set()
            assert (await answer).json()["path"] == "/wait"
        assert b'"path": "/late"' in await ic.read()
        await oc.close()


@needs_vsock
async def test_a_client_by_vsock_is_a_number() -> None:
    async with running(App(), f"vsock://{LOCAL}:0") as web, browser(web.endps[0]) as http:
        assert (await http.get("http://app/")).json()["client"][0] == str(LOCAL)


async def test_options_of_listen_hold(socket_path: str) -> None:
    async with running(App(), f"unix:{socket_path}", listening={"idle_timeout": 0.05}) as web:
        async with conduit.connect(web.endps[0]) as (_, ic, _):
            assert await ic.read() == b""
